//! A process that may touch one directory and nothing else.
