//! The command line of adit.

fn main() {}
