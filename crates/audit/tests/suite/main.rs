//! Tests of the scanner as a library, by subject.

mod agreement;
mod kubesec;
mod policies;
mod support;
