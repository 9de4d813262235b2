//! Measures of the endpoint.

fn main() {}
