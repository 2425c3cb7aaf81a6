//! A play's run: batches, meeting points, handlers, blocks, loops.
