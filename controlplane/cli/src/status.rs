//! `adit status`: what a node says about itself.
//!
//! Shows whatever the node answers; what that is, is left to the node.

use crate::ending::Failure;
use crate::node::NodeAddress;
use crate::output::{Output, Plain};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's admin endpoint: unix:PATH or http://HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    node: NodeAddress,
}

pub(crate) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let answer = args.node.get("/status").await?;
    if !answer.status.is_success() {
        return Err(Failure::failed(answer.complaint()));
    }
    let status = answer.json()?;
    output.result(Plain(&status), &status);
    Ok(())
}
