//! Events to terminal and JSON lines: the only place that prints.
