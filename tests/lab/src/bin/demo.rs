//! A demonstration in one go: a real name server, the built gateway before it, one update from `curl` to `dig`.

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::error::Error;
use std::net::SocketAddr;
use std::process::{Command, ExitCode, Output};

use lab::http::Request;
use lab::{Gateway, Key, Kind, Server, Setup, digest, new_secret};

const ZONE: &str = "dyn.example";
const HOST: &str = "home.dyn.example";
const ADDRESS: &str = "198.51.100.7";
const LOGIN: &str = "demo";

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("The demonstration failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<(), Box<dyn Error>> {
    let key = Key::generate("gateway-key");
    let mut server = name_server(&key).await?;
    println!("2. A fresh gateway-key (TSIG, {}) and account \"{LOGIN}\" with a generated secret.", key.algorithm);
    let secret = new_secret();
    let mut gateway = Gateway::start(&configuration(&key, &secret, server.addr())).await?;
    println!(
        "3. dyngate listens on http://{}; its log and files are in {}.",
        gateway.http(),
        gateway.folder().display()
    );

    println!("4. A router reports a new address:");
    let answer = update(gateway.http(), &secret).await?;
    println!("   {answer}");
    if answer != format!("good {ADDRESS}") {
        return Err(format!("expected \"good {ADDRESS}\"; the log of dyngate:\n{}", gateway.log()).into());
    }
    println!("5. What the name server now answers to everybody:");
    let found = look(&server).await?;
    println!("   {found}");
    if found != ADDRESS {
        return Err(format!("expected {ADDRESS}; the log of dyngate:\n{}", gateway.log()).into());
    }
    gateway.stop().await?;
    server.stop().await?;
    println!("6. Done: {HOST} was {ADDRESS}. Both are stopped, their folders are gone.");
    Ok(())
}

/// Knot where it is installed, else BIND.
async fn name_server(key: &Key) -> Result<Server, lab::Error> {
    let setup = Setup::new().zone(ZONE).key(key);
    let server = match Server::start(Kind::Knot, setup.clone()).await {
        Err(lab::Error::Missing { .. }) => Server::start(Kind::Bind, setup).await?,
        started => started?,
    };
    println!("1. {} serves the zone {ZONE} on {}, as a child in a temporary folder.", server.kind(), server.addr());
    Ok(server)
}

fn configuration(key: &Key, secret: &str, primary: SocketAddr) -> String {
    format!(
        "[http]\nlisten = [\"127.0.0.1:0\"]\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n{}\n\
         [[zone]]\nname = \"{ZONE}\"\nprimaries = [\"{primary}\"]\nkey = \"{}\"\n\n\
         [[account]]\nlogin = \"{LOGIN}\"\nsecret = \"{}\"\nhosts = [\"{HOST}\"]\n",
        key.toml(),
        key.name,
        digest(secret)
    )
}

/// Through the real curl where there is one.
async fn update(gateway: SocketAddr, secret: &str) -> Result<String, Box<dyn Error>> {
    let target = format!("/nic/update?hostname={HOST}&myip={ADDRESS}");
    let (user, url) = (format!("{LOGIN}:{secret}"), format!("http://{gateway}{target}"));
    println!("   curl --user {user} '{url}'");
    match run(Command::new("curl").args(["--silent", "--show-error", "--noproxy", "*", "--user", &user, &url])) {
        Some(output) => text(&output),
        None => {
            println!("   (curl is not installed: sent by the demonstration itself)");
            Ok(Request::get(&target).basic(LOGIN, secret).send(gateway).await?.text())
        }
    }
}

/// Through the real dig where there is one.
async fn look(server: &Server) -> Result<String, Box<dyn Error>> {
    let port = server.addr().port().to_string();
    println!("   dig @127.0.0.1 -p {port} +short {HOST} A");
    match run(Command::new("dig").args(["@127.0.0.1", "-p", &port, "+short", HOST, "A"])) {
        Some(output) => text(&output),
        None => {
            println!("   (dig is not installed: asked by the demonstration itself)");
            let addresses = server.addresses(HOST).await?;
            Ok(addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
    }
}

/// `None` when the program is not installed.
fn run(command: &mut Command) -> Option<Output> {
    command.output().ok()
}

fn text(output: &Output) -> Result<String, Box<dyn Error>> {
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() { Ok(said) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}
