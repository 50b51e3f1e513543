//! Bytes to messages and back: pure protocol codecs.
