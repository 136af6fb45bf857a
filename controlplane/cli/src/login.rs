//! `adit login`, `adit logout` and `adit whoami`: who asks the control plane.
//!
//! A login leaves a profile that the other commands use; with a certificate it keeps where that is. Passwords and the setup token come from files or the
//! terminal, never from the command line.

use std::path::PathBuf;

use adit_api::{Login, Setup, Token, Whoami};
use serde_json::json;

use crate::ending::Failure;
use crate::output::Output;
use crate::plane::shown::{plain, when};
use crate::plane::{
    Call, ClientCertificate, Connect, Plane, Profile, Proof, ServerUrl, Trust, prompt, proven,
};
use crate::users::grants;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The control plane, https://HOST:PORT; further ones are its other servers, tried in turn
    #[arg(required = true, value_name = "URL")]
    url: Vec<ServerUrl>,
    /// Its roots, PEM: the ca.pem in its state folder [default: those of the last login]
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    root: Option<PathBuf>,
    /// Trust the root that the server shows if its public key has this SHA-256, as `adit serve` prints it
    #[arg(long, value_name = "HEX")]
    pin: Option<String>,
    /// Make the first administrator, with the one-time token in this file
    #[arg(long, value_name = "FILE")]
    setup: Option<PathBuf>,
    /// Name [default: that of the last login, else it is asked for]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file with the password, or - for standard input; without it the terminal asks
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Your client certificate, PEM, instead of a name and a password; it stays where it is, and is read each time
    #[arg(long, value_name = "FILE", requires = "key_file", conflicts_with_all = ["setup", "user", "password_file"])]
    certificate_file: Option<PathBuf>,
    /// Its private key, PEM, mode 0600
    #[arg(long, value_name = "FILE", requires = "certificate_file")]
    key_file: Option<PathBuf>,
}

/// Logs in, and keeps the login.
pub(crate) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let before = Profile::read()?;
    // Read once: what is verified is what is kept.
    let given = args.root.as_ref().map(|root| {
        let place = root.display().to_string();
        match std::fs::read_to_string(root) {
            Ok(pem) => Ok((place, pem)),
            Err(error) => Err(Failure::config(format!("{place}: {error}"))),
        }
    });
    let given = given.transpose()?;
    let trust = match (&given, &args.pin, &before) {
        (Some((place, pem)), _, _) => Trust::roots(place, pem)?,
        (None, Some(pin), _) => Trust::pin(pin)?,
        (None, None, Some(before)) => Trust::roots(&Profile::place()?, &before.roots)?,
        (None, None, None) => {
            return Err(Failure::usage(
                "whom to trust is not known: add --root FILE with the ca.pem in the server's state folder, or --pin with \
                 the digits that `adit serve` prints",
            ));
        }
    };
    let plane = Plane::new(args.url.clone(), &trust, None, None)?;
    // Who the server is comes before any question about a password.
    let proven = proven(&plane, &trust).await?;
    let roots = match (given, &args.pin, before.as_ref()) {
        (Some((_, pem)), _, _) => pem,
        (None, None, Some(before)) => before.roots.clone(),
        _ => proven.root_pem,
    };
    if let Some(files) = args.certificate_file.zip(args.key_file) {
        let domain = Some(proven.trust_domain.as_str());
        let (proof, certificate) = certified(files)?;
        let expires_unix_s = certificate.until_unix_s;
        let plane = Plane::new(args.url.clone(), &trust, domain, Some(certificate))?;
        let who: Whoami = plane.get(Call::get("/api/v1/whoami")).await?;
        let profile = Profile {
            urls: args.url,
            roots,
            trust_domain: proven.trust_domain,
            proof,
            user: who.name,
            expires_unix_s,
        };
        return keep(&profile, &proven.server, output);
    }
    let user = match args.user {
        Some(user) => user,
        None => match before {
            Some(before) if args.setup.is_none() => before.user,
            _ => prompt::name("user", "say who you are: --user NAME")?,
        },
    };
    let setup = args.setup.as_deref().map(prompt::secret).transpose()?;
    let password = prompt::password(args.password_file.as_ref(), &user, setup.is_some()).await?;
    let call = match setup {
        Some(token) => Call::post("/api/v1/setup").json(&Setup {
            token,
            user,
            password,
        })?,
        None => Call::post("/api/v1/logins").json(&Login { user, password })?,
    };
    let token: Token = plane.ask(call).await?.json()?;
    let profile = Profile {
        urls: args.url,
        roots,
        trust_domain: proven.trust_domain,
        proof: Proof::Token { token: token.token },
        user: token.user,
        expires_unix_s: token.expires_unix_s,
    };
    keep(&profile, &proven.server, output)
}

/// Where certificate and key are, from whatever folder later commands are run, and what is there now.
fn certified(
    (certificate, key): (PathBuf, PathBuf),
) -> Result<(Proof, ClientCertificate), Failure> {
    let there = |path: PathBuf| {
        std::path::absolute(&path)
            .map_err(|error| Failure::config(format!("{}: {error}", path.display())))
    };
    let (certificate_file, key_file) = (there(certificate)?, there(key)?);
    let read = ClientCertificate::read(&certificate_file, &key_file)?;
    let proof = Proof::Certificate {
        certificate_file,
        key_file,
    };
    Ok((proof, read))
}

fn keep(profile: &Profile, server: &str, output: Output) -> Result<(), Failure> {
    let kept = profile.write()?;
    output.result(
        format_args!(
            "logged in as {} at {server} of {} until {}",
            plain(&profile.user),
            profile.trust_domain,
            when(profile.expires_unix_s)
        ),
        &json!({
            "user": profile.user,
            "server": server,
            "trust_domain": profile.trust_domain,
            "expires_unix_s": profile.expires_unix_s,
            "profile": kept,
        }),
    );
    Ok(())
}

/// Ends the login at the control plane and forgets it here.
pub(crate) async fn out(output: Output) -> Result<(), Failure> {
    let profile = Profile::read()?.ok_or_else(|| Failure::failed("nobody is logged in"))?;
    if let Proof::Certificate { .. } = profile.proof {
        Profile::remove()?;
        output.result(
            format_args!(
                "{} is forgotten here; the certificate goes on until it ends",
                plain(&profile.user)
            ),
            &json!({"user": profile.user, "ended": false}),
        );
        return Ok(());
    }
    // A login that has ended, or a control plane that is gone, is forgotten all the same.
    let ended = match Connect::default().open() {
        Ok(plane) => plane
            .ask(Call::delete("/api/v1/logins/current"))
            .await
            .map(drop),
        Err(failure) => Err(failure),
    };
    Profile::remove()?;
    if let Err(failure) = &ended {
        output.hint(format_args!(
            "the login is forgotten here; the control plane did not hear of it: {failure}"
        ));
    }
    output.result(
        format_args!("{} is logged out", plain(&profile.user)),
        &json!({"user": profile.user, "ended": ended.is_ok()}),
    );
    Ok(())
}

/// Says who asks, as the control plane sees it.
pub(crate) async fn whoami(connect: Connect, output: Output) -> Result<(), Failure> {
    let plane = connect.open()?;
    let who: Whoami = plane.get(Call::get("/api/v1/whoami")).await?;
    output.result(
        format_args!(
            "{} ({}): {}",
            plain(&who.name),
            plain(&who.how),
            grants(&who.grants)
        ),
        &json!(who),
    );
    Ok(())
}
