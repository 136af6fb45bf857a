//! What a case is: a name, what one unit of it is, and the prepared work.

/// Prepared work that can be done again and again.
pub trait Work {
    /// Makes ready what the next [`run`](Self::run) uses up. Not measured.
    fn prepare(&mut self) {}

    /// [`Case::batch`] units of work.
    fn run(&mut self);
}

/// Whose code does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a further baseline must be looked at by both runners"
)]
pub enum Who {
    /// Ours.
    Adit,
    /// The `yamux` crate.
    Yamux,
    /// rustls and its own record layer.
    Rustls,
}

impl Who {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Adit => "adit",
            Self::Yamux => "yamux",
            Self::Rustls => "rustls",
        }
    }
}

/// One thing that is measured.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Case {
    /// Room and act: `mux/encode-1k`. A baseline has the name of the case it stands beside.
    pub name: &'static str,
    /// Whose code.
    pub who: Who,
    /// What one unit of work is.
    pub unit: &'static str,
    /// Units in one [`Work::run`].
    pub batch: u32,
    /// Payload of one unit, where it has any.
    pub bytes: Option<u64>,
    start: fn() -> Box<dyn Work>,
}

impl Case {
    /// A case of ours without payload.
    pub(crate) const fn new(
        name: &'static str,
        unit: &'static str,
        batch: u32,
        start: fn() -> Box<dyn Work>,
    ) -> Self {
        Self {
            name,
            who: Who::Adit,
            unit,
            batch,
            bytes: None,
            start,
        }
    }

    /// The same with payload.
    pub(crate) const fn carrying(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// The same work, done by somebody else.
    pub(crate) const fn by(mut self, who: Who, start: fn() -> Box<dyn Work>) -> Self {
        self.who = who;
        self.start = start;
        self
    }

    /// Sets it up.
    #[must_use]
    pub fn start(&self) -> Box<dyn Work> {
        (self.start)()
    }
}

/// Units that need nothing to be made ready: `unit` done [`UNITS`] times. The loop is in here so
/// that a unit of fifty instructions is not measured together with a call through a pointer.
pub(crate) fn units(unit: impl FnMut() + 'static) -> Box<dyn Work> {
    Box::new(Units(unit))
}

/// The batch of [`units`].
pub(crate) const UNITS: u32 = 64;

struct Units<F>(F);

impl<F: FnMut()> Work for Units<F> {
    fn run(&mut self) {
        for _ in 0..UNITS {
            (self.0)();
        }
    }
}
