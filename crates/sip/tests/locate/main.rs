//! RFC 3263 as a question/answer machine: by section, by chance, and in a simulated use as a switch has it.

mod memory;
mod number;
mod random;
mod rfc2782;
mod rfc3263;
mod simulated;
mod world;
