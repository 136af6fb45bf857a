//! rsyslog as a collector of audit records: TLS with certificates on both sides, messages into a file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::net;
use crate::nginx::with_sbin;
use crate::openssl::Authority;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::until;

/// An rsyslogd that can be stopped and started at one address.
#[derive(Debug)]
pub struct Rsyslog {
    address: SocketAddr,
    process: Option<Process>,
    authority: Authority,
    client: (PathBuf, PathBuf),
    scratch: Scratch,
}

/// A message as rsyslog understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Facility and severity, as numbers.
    pub priority: (u8, u8),
    /// APP-NAME.
    pub app_name: String,
    /// MSGID.
    pub kind: String,
    /// STRUCTURED-DATA, as it was sent.
    pub data: String,
    /// MSG.
    pub text: String,
}

impl Rsyslog {
    /// Makes certificates and an address; it does not run yet.
    ///
    /// # Panics
    /// When openssl fails.
    #[must_use]
    pub fn stopped() -> Self {
        let authority = Authority::new();
        let client = authority.issue("client", "DNS:agent-1");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&client.1, mode).expect("one's own file");
        Self {
            address: net::free_address(),
            process: None,
            authority,
            client,
            scratch: Scratch::new(),
        }
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&mut self) {
        let (certificate, key) = self.authority.issue("server", "IP:127.0.0.1");
        let text = format!(
            r#"global(workDirectory="{dir}" maxMessageSize="64k" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{certificate}"
  defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="whole" type="string"
  string="%syslogfacility%|%syslogseverity%|%app-name%|%msgid%|%structured-data%|%msg%\n")
input(type="imtcp" address="127.0.0.1" port="{port}")
action(type="omfile" file="{dir}/messages" template="whole")
"#,
            dir = self.scratch.dir().display(),
            ca = self.authority.certificate().display(),
            certificate = certificate.display(),
            key = key.display(),
            port = self.address.port(),
        );
        let config = self.scratch.write("rsyslog.conf", text);
        let mut command = Command::new("rsyslogd");
        command
            .args(["-n", "-C", "-f"])
            .arg(config)
            .arg("-i")
            .arg(self.scratch.path("pid"))
            .env("PATH", with_sbin());
        let log = self.scratch.path("rsyslog.log");
        let mut process = Process::start("rsyslogd", &mut command, &log);
        until("rsyslog listens or ends", Duration::from_secs(10), || {
            process.ended().is_some() || net::connect(self.address).is_ok()
        });
        process.must_run();
        self.process = Some(process);
    }

    /// Kills it: what it has read and not written is lost.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who signed its certificate.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.authority.certificate()
    }

    /// A certificate and a key that it takes.
    #[must_use]
    pub fn client(&self) -> (PathBuf, PathBuf) {
        self.client.clone()
    }

    /// All messages it has written down.
    ///
    /// # Panics
    /// When a line is no message.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        let text = std::fs::read_to_string(self.scratch.path("messages")).unwrap_or_default();
        // The last line may be under way, and rsyslog tells of itself.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let own = |line: &&str| !line.contains("|rsyslogd|");
        whole.lines().filter(own).map(message).collect()
    }
}

fn message(line: &str) -> Message {
    let parts: Vec<&str> = line.splitn(6, '|').collect();
    let [facility, severity, app_name, kind, data, text] = parts.as_slice() else {
        panic!("this is no message: {line}");
    };
    let number = |text: &str| text.parse().expect("a number");
    Message {
        priority: (number(facility), number(severity)),
        app_name: (*app_name).to_owned(),
        kind: (*kind).to_owned(),
        data: (*data).to_owned(),
        text: text.trim_start().to_owned(),
    }
}
