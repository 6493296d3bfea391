"""What people look at: tables, figures, drawings of plans, the page that holds them."""
