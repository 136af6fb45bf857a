//! `adit demo`: the whole journey on this machine, with the real programs.
//!
//! Puts the acts in order and takes everything down again, whatever happens. Files are `world`'s,
//! children `nodes`', what is on the internal side `backends`', what an application does
//! `caller`'s; what is told is `story`'s.

mod backends;
mod caller;
mod nodes;
mod operator;
mod story;
mod world;

use std::num::NonZeroU16;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::backends::Backends;
use self::nodes::Nodes;
use self::operator::Operator;
use self::story::Story;
use self::world::World;
use crate::ending::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End after the story; exit code 0 only if all went as expected
    #[arg(long)]
    once: bool,
    /// Folder for keys, configurations, logs and demo.json; made with mode 0700
    ///
    /// A folder of an earlier demo is used again, with fresh keys; any other must be empty.
    #[arg(long, default_value = "demo")]
    dir: PathBuf,
    /// Where control plane, gateway and agent listen on 127.0.0.1
    #[arg(long, value_enum, default_value_t = Ports::Default)]
    ports: Ports,
    /// Threads that carry traffic, for each node [default: one for each core]
    #[arg(long, value_name = "N")]
    shards: Option<NonZeroU16>,
}

/// Which ports the demo takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Ports {
    /// The ones of the documentation: 7420, 20003, 20004, 8443, 9494 and 9495
    Default,
    /// Any that are free
    Auto,
}

pub(crate) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let program = nodes::find_aditd()?;
    let mut stop = Stop::listen()?;
    let backends = Backends::start().await?;
    let world = World::make(&args.dir, args.ports, args.shards, &backends)?;
    let mut nodes = Nodes::new(program);
    let operator = Operator::new(&world, output)?;
    let mut story = Story::new(&world, &backends, &operator, output);

    let outcome = tokio::select! {
        outcome = play(&world, &mut nodes, &operator, &mut story, args.once) => outcome,
        () = stop.asked() => story.verdict(),
    };
    // From here on a signal means: at once.
    output.line("\nstopping agent, gateway and control plane");
    nodes.stop(stop.asked()).await;
    world.close();
    outcome
}

/// Everything between the first child and the order to stop.
async fn play(
    world: &World,
    nodes: &mut Nodes,
    operator: &Operator,
    story: &mut Story<'_>,
    once: bool,
) -> Result<(), Failure> {
    story.opening();
    nodes.start(world, operator, story).await?;
    story.tell().await;
    // The story changes the rules for a moment; whoever waits for the announcement finds them as they stay.
    world.announce(nodes)?;
    if once {
        return story.verdict();
    }
    story.invitation();
    Err(Failure::failed(nodes.any_ended().await))
}

/// The two signals that end the demo.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("signals cannot be received")?,
            terminate: signal(SignalKind::terminate()).context("signals cannot be received")?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
