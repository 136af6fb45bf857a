//! Rule sets as text, put together as a person would write them.

use std::fmt::{self, Display, Write as _};

/// A rule set under construction.
#[derive(Clone, Debug, Default)]
pub struct Rules(String);

impl Rules {
    /// Nothing is exposed.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Exposes all of an HTTP backend: every path, every method, no upgrade.
    #[must_use]
    pub fn http(self, virtual_: &str, internal: impl Display) -> Self {
        self.http_with(virtual_, internal, "")
            .resource("path = \"/\"\nscope = \"subtree\"")
    }

    /// Exposes an HTTP backend of which nothing is allowed yet; `more` are further lines of the system.
    #[must_use]
    pub fn http_with(mut self, virtual_: &str, internal: impl Display, more: &str) -> Self {
        let _ = write!(
            self.0,
            "[[system]]\nvirtual = \"{virtual_}\"\nprotocol = \"http\"\ninternal = \"{internal}\"\n\
             allow_loopback = true\n{more}\n\n"
        );
        self
    }

    /// Adds a resource to the last system.
    #[must_use]
    pub fn resource(mut self, lines: &str) -> Self {
        let _ = write!(self.0, "[[system.resource]]\n{lines}\n\n");
        self
    }

    /// Exposes a TCP backend.
    #[must_use]
    pub fn tcp(self, virtual_: &str, internal: impl Display) -> Self {
        self.opaque("tcp", virtual_, internal, "")
    }

    /// Exposes a backend of protocol `tcp` or `tls`; `more` are further lines of the system.
    #[must_use]
    pub fn opaque(
        mut self,
        protocol: &str,
        virtual_: &str,
        internal: impl Display,
        more: &str,
    ) -> Self {
        let _ = write!(
            self.0,
            "[[system]]\nvirtual = \"{virtual_}\"\nprotocol = \"{protocol}\"\ninternal = \"{internal}\"\n\
             allow_loopback = true\n{more}\n\n"
        );
        self
    }

    /// Adds text as it is.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0.push_str(text);
        self.0.push('\n');
        self
    }
}

impl std::str::FromStr for Rules {
    type Err = std::convert::Infallible;

    /// Takes text as it is.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
