//! Clients that will not be told where to go, or reach us over IPv6: with public names and addresses, in a namespace.

use std::time::Duration;

use lab::soon;
use rustix::process::Signal;

use crate::inadyn::ARGUMENTS;
use crate::namespace::{IPV4, IPV6, IPV6_NAME, inside};
use crate::program::Program;
use crate::stage::{HOME, LOGIN, OFFICE, SECRET, STRANGE, Stage, nudge};

/// Its own provider for dyndns.org, with our page in place of Dyn's for the address.
fn builtin(stage: &Stage, password: &str, host: &str) {
    let text = format!(
        "provider default@dyndns.org {{\n\
             ssl = false\n\
             username = \"{LOGIN}\"\n\
             password = \"{password}\"\n\
             hostname = {host}\n\
             checkip-server = \"checkip.dyndns.com\"\n\
             checkip-path = \"/checkip\"\n\
             checkip-ssl = false\n\
         }}\n"
    );
    stage.write("inadyn.conf", &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn inadyns_builtin_provider_where_namespaces_are_allowed() {
    if !inside("public::inadyns_builtin_provider_where_namespaces_are_allowed").await {
        return;
    }
    let mut stage = Stage::listening(&format!("{IPV4}:80")).await;
    builtin(&stage, "wrong", HOME);
    let once = async |stage: &Stage| stage.run("inadyn", &[&ARGUMENTS[..], &["--once", "--force"]].concat()).await;
    once(&stage).await.assert(50, "[401 Unauthorized] badauth");
    builtin(&stage, SECRET, HOME);
    once(&stage).await.assert(0, "Updating cache for home.dyn.example");
    assert_eq!(stage.served(HOME).await, [IPV4], "the address that our own page told it");
    // A stranger's host does not end it, as it ends the `custom` provider.
    builtin(&stage, SECRET, STRANGE);
    let mut daemon = Program::start("inadyn", &ARGUMENTS, stage.folder());
    soon("nohost is seen", async || daemon.output().contains("[200 OK] nohost")).await;
    soon("it rests", async || stage.count("not_your_host").await >= 1.0).await;
    assert!(daemon.runs(), "{}", daemon.output());
    drop(daemon);
    // Outage and recovery.
    stage.begin_outage().await;
    builtin(&stage, SECRET, OFFICE);
    let mut daemon = Program::start("inadyn", &ARGUMENTS, stage.folder());
    soon("it means to come back", async || daemon.output().contains("Will retry again in 600 sec")).await;
    assert!(daemon.output().contains("[503 Service Unavailable] 911"), "{}", daemon.output());
    stage.end_outage().await;
    daemon.signal(Signal::USR2);
    let recovered = async || stage.read("office.dyn.example.cache") == IPV4;
    nudge("the recovery", || daemon.signal(Signal::USR2), recovered).await;
    assert_eq!(stage.served(OFFICE).await, [IPV4]);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended(Duration::from_secs(60)).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ddclient_over_ipv6_with_our_own_page_where_namespaces_are_allowed() {
    if !inside("public::ddclient_over_ipv6_with_our_own_page_where_namespaces_are_allowed").await {
        return;
    }
    let stage = Stage::listening(&format!("[{IPV6}]:80")).await;
    let text = format!(
        "protocol=dyndns2\nssl=no\nserver={IPV6_NAME}\nlogin={LOGIN}\npassword={SECRET}\n\
         ipv6={IPV6}\nuse=web, web=http://{IPV6_NAME}/checkip\n{HOME}\n"
    );
    stage.write("ddclient.conf", &text);
    let arguments = ["-daemon=0", "-foreground", "-file", "ddclient.conf", "-cache", "cache"];
    let ran = stage.run("ddclient", &arguments).await;
    ran.assert(0, &format!("good: IP address set to {IPV6}"));
    assert_eq!(stage.served(HOME).await, [IPV6]);
}

/// The first block below a heading of docs/CLIENTS.md, with the account's secret.
fn documented(heading: &str) -> String {
    let text = include_str!("../../docs/CLIENTS.md");
    let (_, below) = text.split_once(&format!("\n### {heading}\n")).expect("the heading");
    let block = below.split("```").nth(1).expect("a block");
    block.replace("SECRET", SECRET)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_configurations_work_where_namespaces_are_allowed() {
    if !inside("public::the_documented_configurations_work_where_namespaces_are_allowed").await {
        return;
    }
    let stage = Stage::listening(&format!("{IPV4}:8245")).await;
    stage.write("ddclient.conf", &documented("ddclient"));
    let ran = stage.run("ddclient", &["-daemon=0", "-foreground", "-file", "ddclient.conf", "-cache", "cache"]).await;
    ran.assert(0, &format!("good: IP address set to {IPV4}"));
    assert_eq!(stage.served(HOME).await, [IPV4]);
    stage.write("inadyn.conf", &documented("inadyn"));
    let ran = stage.run("inadyn", &[&ARGUMENTS[..], &["--once", "--force"]].concat()).await;
    ran.assert(0, "Updating cache for home.dyn.example");
    assert_eq!(stage.count("unchanged").await, 1.0);
    let block = documented("GNU Wget, curl, and scripts");
    let commands: Vec<_> = block.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        stage.run("sh", &["-c", command]).await.assert(0, &format!("nochg {IPV4}"));
    }
}
