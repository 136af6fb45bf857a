//! The beginning of a tunnel: TLS handshake, then one greeting each way.
//!
//! The agent says hello, the gateway welcomes or rejects; each greeting is exactly one record, and
//! nothing may follow it in that record. Whom to admit is the caller's decision.

use std::fmt;

use adit_mux::{Session, Settings, Side};
use adit_proto::hello::{Answer, Hello, Rejected, Welcome, common_version};
use adit_tls::{
    Established, Handshake, Opened as Record, PeerIdentity, RECORD_HEADER, RECORD_TRAILER, Records,
};
use rustls::pki_types::ServerName;

use crate::error::Error;
use crate::slot::Slot;
use crate::tunnel::{Peer, Tunnel};

/// A tunnel that is not one yet.
pub struct Opening {
    stage: Stage,
    hello: Option<Hello>,
}

enum Stage {
    Shaking(Box<Handshake>),
    Greeting(Box<Secured>),
    Failed,
}

struct Secured {
    records: Records,
    identity: PeerIdentity,
    suite: &'static str,
    greeting: Greeting,
}

enum Greeting {
    // Agent: our hello is sent, the answer is awaited.
    Asked,
    // Gateway: the agent's hello is awaited.
    Awaiting,
    // Gateway: it came, the verdict is awaited.
    Heard(Hello),
    // Agent: welcome.
    Welcomed(Welcome),
}

/// How far an opening has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed by nature: whoever matches must look at each"
)]
pub enum Progress {
    /// More must come from the peer.
    Reading,
    /// Gateway: the agent is known and has said hello; admit or reject it.
    Heard,
    /// Agent: the gateway said welcome; [`Opening::finish`] gives the tunnel.
    Welcomed,
}

/// What a finished opening leaves.
#[derive(Debug)]
pub struct Opened<B: AsRef<[u8]> + AsMut<[u8]>> {
    /// The tunnel.
    pub tunnel: Tunnel<B>,
}

impl Opening {
    /// The agent's side: dials, says `hello`.
    ///
    /// # Errors
    /// When rustls refuses the settings.
    pub fn agent(
        settings: &adit_tls::ClientSettings,
        name: ServerName<'static>,
        hello: Hello,
    ) -> Result<Self, Error> {
        Ok(Self {
            stage: Stage::Shaking(Box::new(Handshake::client(settings, name)?)),
            hello: Some(hello),
        })
    }

    /// The gateway's side: accepts.
    ///
    /// # Errors
    /// When rustls refuses the settings.
    pub fn gateway(settings: &adit_tls::ServerSettings) -> Result<Self, Error> {
        Ok(Self {
            stage: Stage::Shaking(Box::new(Handshake::server(settings)?)),
            hello: None,
        })
    }

    /// Reads `input` from its front, drops what was used, and appends to `output` what must be sent.
    /// What is left in `input` after the last step belongs to the tunnel.
    ///
    /// # Errors
    /// The opening is over; `output` may hold last words for the peer.
    pub fn advance(
        &mut self,
        input: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<Progress, Error> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Failed) {
                Stage::Shaking(mut handshake) => {
                    let (used, progress) = handshake.advance(input, output)?;
                    input.drain(..used.min(input.len()));
                    match progress {
                        adit_tls::Progress::Reading => {
                            self.stage = Stage::Shaking(handshake);
                            return Ok(Progress::Reading);
                        }
                        adit_tls::Progress::Done => {
                            let secured = self.greet(handshake.finish()?, output)?;
                            self.stage = Stage::Greeting(Box::new(secured));
                        }
                    }
                }
                Stage::Greeting(mut secured) => {
                    let progress = secured.advance(input, output)?;
                    self.stage = Stage::Greeting(secured);
                    return Ok(progress);
                }
                Stage::Failed => return Err(Error::Internal("advance after a failure")),
            }
        }
    }

    fn greet(&mut self, established: Established, output: &mut Vec<u8>) -> Result<Secured, Error> {
        let Established {
            mut records,
            peer: identity,
            suite,
            ..
        } = established;
        let greeting = match self.hello.take() {
            Some(hello) => {
                let mut message = Vec::new();
                hello.encode(&mut message).map_err(too_long)?;
                seal_message(&mut records, &message, output)?;
                Greeting::Asked
            }
            None => Greeting::Awaiting,
        };
        Ok(Secured {
            records,
            identity,
            suite: suite.name(),
            greeting,
        })
    }

    /// Gateway: who wants in, as proven and as said. Only after [`Progress::Heard`].
    #[must_use]
    pub fn candidate(&self) -> Option<(&PeerIdentity, &Hello)> {
        match &self.stage {
            Stage::Greeting(secured) => match &secured.greeting {
                Greeting::Heard(hello) => Some((&secured.identity, hello)),
                Greeting::Asked | Greeting::Awaiting | Greeting::Welcomed(_) => None,
            },
            Stage::Shaking(_) | Stage::Failed => None,
        }
    }

    /// Gateway: admits the agent; `output` must be sent before anything of the tunnel.
    ///
    /// # Errors
    /// When nobody is to be admitted, or the record cannot be sealed.
    pub fn admit<B: AsRef<[u8]> + AsMut<[u8]>>(
        self,
        welcome: Welcome,
        settings: Settings,
        output: &mut Vec<u8>,
    ) -> Result<Opened<B>, Error> {
        let Stage::Greeting(secured) = self.stage else {
            return Err(Error::Internal("admit before hello"));
        };
        let Secured {
            mut records,
            identity,
            suite,
            greeting,
        } = *secured;
        let Greeting::Heard(hello) = greeting else {
            return Err(Error::Internal("admit before hello"));
        };
        let mut message = Vec::new();
        Answer::Welcome(welcome.clone())
            .encode(&mut message)
            .map_err(too_long)?;
        seal_message(&mut records, &message, output)?;
        let peer = Peer {
            identity,
            hello: Some(hello),
            welcome,
            suite,
        };
        Ok(Opened {
            tunnel: Tunnel::new(records, Session::new(Side::Server, settings), peer),
        })
    }

    /// Gateway: sends the agent away with a reason.
    pub fn reject(self, rejected: Rejected, output: &mut Vec<u8>) {
        let Stage::Greeting(mut secured) = self.stage else {
            return;
        };
        let mut message = Vec::new();
        if Answer::Rejected(rejected).encode(&mut message).is_ok()
            && seal_message(&mut secured.records, &message, output).is_ok()
        {
            secured.records.close(output);
        }
    }

    /// Agent: the tunnel, after [`Progress::Welcomed`].
    ///
    /// # Errors
    /// When there was no welcome.
    pub fn finish<B: AsRef<[u8]> + AsMut<[u8]>>(
        self,
        settings: Settings,
    ) -> Result<Opened<B>, Error> {
        let Stage::Greeting(secured) = self.stage else {
            return Err(Error::Internal("finish before welcome"));
        };
        let Secured {
            records,
            identity,
            suite,
            greeting: Greeting::Welcomed(welcome),
        } = *secured
        else {
            return Err(Error::Internal("finish before welcome"));
        };
        let peer = Peer {
            identity,
            hello: None,
            welcome,
            suite,
        };
        Ok(Opened {
            tunnel: Tunnel::new(
                records,
                Session::<Slot<B>>::new(Side::Client, settings),
                peer,
            ),
        })
    }
}

impl Secured {
    fn advance(&mut self, input: &mut Vec<u8>, output: &mut Vec<u8>) -> Result<Progress, Error> {
        loop {
            match &self.greeting {
                Greeting::Heard(_) => return Ok(Progress::Heard),
                Greeting::Welcomed(_) => return Ok(Progress::Welcomed),
                Greeting::Asked | Greeting::Awaiting => {}
            }
            let (used, message) = match self.records.open(input)? {
                Record::Incomplete { .. } => return Ok(Progress::Reading),
                Record::Data { record, plaintext } => (record, Some(plaintext)),
                Record::Handled { record, .. } => (record, None),
                Record::CloseNotify { .. } => {
                    return Err(Error::Hello("peer closed before its greeting".to_owned()));
                }
            };
            if let Some(range) = message {
                let bytes = input.get(range).unwrap_or_default();
                // An empty record is legal and means nothing.
                if !bytes.is_empty() {
                    self.greeting = match self.greeting {
                        Greeting::Asked => match whole(Answer::decode(bytes), bytes.len())? {
                            Answer::Welcome(welcome)
                                if common_version(welcome.version) == Some(welcome.version) =>
                            {
                                Greeting::Welcomed(welcome)
                            }
                            Answer::Welcome(welcome) => {
                                return Err(Error::Hello(format!(
                                    "gateway chose version {} of the tunnel protocol, which was not offered",
                                    welcome.version
                                )));
                            }
                            Answer::Rejected(rejected) => {
                                return Err(Error::Rejected {
                                    refusal: rejected.refusal,
                                    message: rejected.message,
                                });
                            }
                        },
                        Greeting::Awaiting | Greeting::Heard(_) | Greeting::Welcomed(_) => {
                            Greeting::Heard(whole(Hello::decode(bytes), bytes.len())?)
                        }
                    };
                }
            }
            input.drain(..used.min(input.len()));
            if self.records.needs_maintenance() {
                self.records.maintenance(output)?;
            }
        }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.stage {
            Stage::Shaking(_) => "Opening(handshake)",
            Stage::Greeting(_) => "Opening(greeting)",
            Stage::Failed => "Opening(failed)",
        })
    }
}

fn too_long(error: adit_proto::EncodeError) -> Error {
    Error::Hello(error.to_string())
}

// A greeting is one record, all of it: anything else is a peer that speaks another language.
fn whole<T, E: fmt::Display>(
    decoded: Result<Option<(T, usize)>, E>,
    bytes: usize,
) -> Result<T, Error> {
    match decoded {
        Ok(Some((message, used))) if used == bytes => Ok(message),
        Ok(Some(_)) => Err(Error::Hello(
            "bytes behind the greeting in its record".to_owned(),
        )),
        Ok(None) => Err(Error::Hello(
            "greeting cut off at the end of its record".to_owned(),
        )),
        Err(error) => Err(Error::Hello(error.to_string())),
    }
}

fn seal_message(records: &mut Records, message: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
    let start = output.len();
    output.resize(start + RECORD_HEADER, 0);
    output.extend_from_slice(message);
    output.resize(output.len() + RECORD_TRAILER, 0);
    let record = output
        .get_mut(start..)
        .ok_or(Error::Internal("output shrank"))?;
    Ok(records.seal(record)?)
}
