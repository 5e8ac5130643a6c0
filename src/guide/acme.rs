//! Programs that obtain certificates for the host, by DNS-01 through the gateway: they write TXT records at `_acme-challenge` of
//! the host, with the account's own credential.

use super::quoted::{caddyfile, json, shell};
use super::target::Target;

pub(super) fn lego(target: &Target) -> String {
    format!(
        "# lego 4. For all names below the host too: -d '*.{host}' beside the other.\n\
         {}lego --accept-tos --email you@example.net --dns httpreq -d {host} run\n",
        environment(target, "export HTTPREQ_"),
        host = target.host,
    )
}

pub(super) fn acme_sh(target: &Target) -> String {
    format!(
        "# acme.sh keeps what is exported here in its account.conf.\n\
         {}acme.sh --issue --dns dns_acmeproxy -d {}\n",
        environment(target, "export ACMEPROXY_"),
        target.host,
    )
}

/// The variables of `httpreq`, by which programs know it.
fn environment(target: &Target, prefix: &str) -> String {
    format!(
        "# The variables' names stay as they are, with _PASSWORD in them.\n\
         {prefix}ENDPOINT={}\n{prefix}USERNAME={}\n{prefix}PASSWORD='PASSWORD'\n",
        shell(&format!("{}/httpreq", target.url)),
        shell(&target.login),
    )
}

pub(super) fn certbot(target: &Target) -> String {
    let Target { host, url, login, .. } = target;
    format!(
        "# pip install certbot certbot-dns-acmedns. Paste this into a shell, as root.\n\
         umask 077\n\
         cat >/etc/letsencrypt/dyngate.json <<'END'\n\
         {{{}: {{\"username\": {}, \"password\": \"PASSWORD\", \"subdomain\": {}, \"fulldomain\": {}, \"allowfrom\": []}}}}\n\
         END\n\
         cat >/etc/letsencrypt/dyngate.ini <<'END'\n\
         dns_acmedns_api_url = {url}/acme-dns\n\
         dns_acmedns_registration_file = /etc/letsencrypt/dyngate.json\n\
         END\n\
         certbot certonly -a dns-acmedns --dns-acmedns-credentials /etc/letsencrypt/dyngate.ini -d {host}\n",
        json(host.as_str()),
        json(login),
        json(host.as_str()),
        json(&format!("_acme-challenge.{host}")),
    )
}

pub(super) fn caddy(target: &Target) -> String {
    let Target { host, url, login, .. } = target;
    format!(
        "# A part of the Caddyfile, for a Caddy that is built with github.com/caddy-dns/acmedns. No CNAME is needed.\n\
         {host} {{\n\
         \ttls {{\n\
         \t\tdns acmedns {{\n\
         \t\t\tusername {}\n\
         \t\t\tpassword \"PASSWORD\"\n\
         \t\t\tsubdomain {host}\n\
         \t\t\tserver_url {url}/acme-dns\n\
         \t\t}}\n\
         \t}}\n\
         }}\n",
        caddyfile(login),
    )
}

pub(super) fn traefik(target: &Target) -> String {
    format!(
        "# 1. In Traefik's static configuration (YAML); a router then says tls.certResolver: dyngate.\n\
         certificatesResolvers:\n  \
           dyngate:\n    \
             acme:\n      \
               email: you@example.net\n      \
               storage: /etc/traefik/acme.json\n      \
               dnsChallenge:\n        \
                 provider: httpreq\n\
         \n\
         # 2. In Traefik's environment: one account, which must be granted all hosts that this resolver serves.\n\
         {}",
        environment(target, "HTTPREQ_"),
    )
}
