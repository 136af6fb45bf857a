//! The data-plane program: `aditd gateway|agent|check`.

fn main() {}
