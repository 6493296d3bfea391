"""What lies between edge and cloud: links, traces, queues, faults. No I/O, no clock."""
