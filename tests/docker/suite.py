#!/usr/bin/env python3
"""What only several hosts can show: the stack of docker-compose.yml, driven from outside its containers.

Usage: tests/docker/suite.py [--image dyngate:test] [NAME…]    runs the tests whose names hold one of NAME
Everything it makes bears a project name of its own, and is removed at the end, however that comes.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
from stack import LOGIN, ROOT, Stack, Storm, compose_command, docker, get, resolve, run, until, update

# The gateway's published port, its primary, and the zone, for each server.
PRIMARIES = {
    "knot": ("HTTP", "dyngate", "dyn.example"),
    "bind": ("BIND_HTTP", "dyngate-bind", "dyn.example"),
    "powerdns": ("POWERDNS_HTTP", "dyngate-powerdns", "dyn.example"),
}
GATEWAYS = ["dyngate", "dyngate-bind", "dyngate-powerdns", "dyngate-a", "dyngate-b"]
SERVERS = ["knot", "bind", "powerdns", "postgres", "haproxy"]
# Beside the base's own, by the issue; a binary of a development build is larger.
MOST = 40 * 1024 * 1024

TESTS = []


def test(function):
    TESTS.append(function)
    return function


def equal(found, wanted, what=""):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, not {wanted!r}")


def true(held, what):
    if not held:
        raise AssertionError(what)


def tell(text):
    print(f"    {text}", flush=True)


@test
def the_image_holds_the_program_and_nothing_else(stack):
    image = json.loads(docker("image", "inspect", f"dyngate:{stack.project}"))[0]
    config = image["Config"]
    equal(config["User"], "65532:65532", "user")
    equal(config["StopSignal"], "SIGTERM", "stop signal")
    equal(config["Healthcheck"]["Test"], ["CMD", "dyngate", "health"], "health check")
    for label in ["title", "version", "revision", "licenses"]:
        true(config["Labels"].get(f"org.opencontainers.image.{label}"), f"label {label}")
    container = docker("create", "--label", f"com.docker.compose.project={stack.project}", f"dyngate:{stack.project}").strip()
    try:
        files = run("sh", "-c", f"docker export {container} | tar -t").splitlines()
    finally:
        docker("rm", container)
    programs = [file for file in files if file.startswith(("usr/bin/", "usr/sbin/", "usr/local/bin/")) and not file.endswith("/")]
    equal(programs, ["usr/local/bin/dyngate"], "programs")
    true("etc/ssl/certs/ca-certificates.crt" in files, "CA certificates")
    said = docker("run", "--rm", "--read-only", "--cap-drop=ALL", "--network=none", f"dyngate:{stack.project}", "--version")
    size = image["Size"]
    true(size <= MOST, f"the image has {size / 2**20:.1f} MiB")
    tell(f"{said.strip()}: {size / 2**20:.1f} MiB with glibc and CA certificates, {len(files)} files and folders")


@test
def everything_is_healthy_and_confined(stack):
    for service in [*GATEWAYS, *SERVERS]:
        stack.healthy(service)
    for service in GATEWAYS:
        found = stack.inspect(service)
        host = found["HostConfig"]
        equal((host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"]), (True, ["ALL"], None), service)
        equal(host["LogConfig"]["Config"], {"max-file": "3", "max-size": "10m"}, service)
        equal(docker("exec", found["Id"], "dyngate", "health").strip().splitlines()[0], "ready", service)
        said = docker("exec", found["Id"], "dyngate", "check")
        true("All well." in said, said)
    versions = {
        "knot": ["knotd", "--version"],
        "bind": ["named", "-v"],
        "powerdns": ["sh", "-c", "pdns_server --version 2>&1 | head -n 1"],
        "postgres": ["sh", "-c", "/usr/lib/postgresql/*/bin/postgres --version"],
        "haproxy": ["sh", "-c", "haproxy -v | head -n 1"],
    }
    for service, command in versions.items():
        tell(f"{service}: {docker('exec', stack.container(service), *command).strip()}")


@test
def an_update_goes_through_to_each_server(stack):
    cases = [(server, stack.ports[port], zone) for server, (port, _, zone) in PRIMARIES.items()]
    cases.append(("knot", stack.ports["CLUSTER_HTTP"], "cluster.example"))
    for server, port, zone in cases:
        host = f"home.{zone}"
        says = lambda address, name=host, secret=stack.secret(): update(port, secret, name, address).body
        equal(says("198.51.100.7"), "good 198.51.100.7", server)
        equal(resolve(stack.address(server), host), ["198.51.100.7"], server)
        equal(says("198.51.100.7"), "nochg 198.51.100.7", server)
        equal(says("198.51.100.8"), "good 198.51.100.8", server)
        equal(says("2001:db8::8"), "good 2001:db8::8", server)
        equal(resolve(stack.address(server), host, family=6), ["2001:db8::8"], server)
        equal(resolve(stack.address(server), host), ["198.51.100.8"], server)
        equal(says("198.51.100.8", secret="wrong"), "badauth", server)
        equal(says("198.51.100.8", name=f"other.{zone}"), "nohost", server)
        equal(says("10.0.0.1"), "badip", server)


@test
def the_lines_that_it_prints_can_be_typed(stack):
    curl, dig, ready = stack.logs("try").splitlines()[1:]
    true(run("sh", "-c", curl + " --silent").split()[0] in ("good", "nochg"), curl)
    equal(run("sh", "-c", dig).strip(), "198.51.100.7", dig)
    equal(run("sh", "-c", ready + " --silent").strip().splitlines()[0], "ready", ready)


def storms(stack, label, servers=tuple(PRIMARIES)):
    """One storm for each gateway with a primary of its own."""
    secret = stack.secret()
    return {server: Storm(stack.ports[PRIMARIES[server][0]], secret, PRIMARIES[server][2], f"{label}-{server}") for server in servers}


def fault(stack, label, start, end, quiet=True):
    """Lets a fault come over all three primaries amid a storm, and reads back what was acknowledged."""
    with contextlib.ExitStack() as blowing:
        blown = {server: blowing.enter_context(storm) for server, storm in storms(stack, label).items()}
        lasted = {}
        try:
            for server in blown:
                start(server)
                lasted[server] = [time.monotonic()]
            # Longer than the deadline of a request.
            time.sleep(6)
        finally:
            for server in lasted:
                lasted[server].append(time.monotonic())
                end(server)
                lasted[server].append(time.monotonic())
        for server, storm in blown.items():
            until(f"{server} is back", lambda: storm.back(lasted[server][1]) is not None, 60)
            storm.flows()
    for server, storm in blown.items():
        equal(storm.lost(stack.address(server)), [], f"{label} {server}")
        started, ending, ended = lasted[server]
        during = storm.tally(started + 0.5, ending)
        if quiet:
            # What was acknowledged before the fault may still have been on its way to the router.
            true(during["good"] + during["nochg"] == 0, f"{label} {server}: acknowledged while nobody was there: {during}")
        tell(f"{server}: {shown(storm, started, ending, ended)}")


def shown(storm, started, ending, ended):
    """What the routers saw of a fault whose end was begun at `ending` and done at `ended`."""
    during = ", ".join(f"{count} {said}" for said, count in sorted(storm.tally(started, ending).items())) or "nothing"
    refused = sum(count for said, count in storm.tally(started).items() if said not in ("good", "nochg"))
    before, meanwhile = storm.median(0, started), storm.median(started, ending)
    times = f"; median {before:.0f} ms before, {meanwhile:.0f} ms meanwhile" if meanwhile else ""
    back = max(0, storm.back(ending) - ended)
    return (
        f"{storm.reports()} reports of {len(storm.names)} hosts; while it lasted ({ending - started:.1f} s): {during}{times}; "
        f"acknowledged again {back:.1f} s after it, {refused} refused until all was well; none lost"
    )


@test
def a_primary_is_paused(stack):
    fault(stack, "paused", stack.pause, stack.unpause)


@test
def a_primary_is_killed_and_started_again(stack):
    containers = {server: stack.container(server) for server in PRIMARIES}
    fault(stack, "killed", lambda server: docker("kill", containers[server]), lambda server: docker("start", containers[server]))


@test
def a_primary_is_restarted(stack):
    with contextlib.ExitStack() as blowing:
        blown = {server: blowing.enter_context(storm) for server, storm in storms(stack, "restarted").items()}
        lasted = {}
        for server in blown:
            started = time.monotonic()
            docker("restart", "--time", "20", stack.container(server))
            lasted[server] = (started, time.monotonic())
        for server, storm in blown.items():
            until(f"{server} is back", lambda: storm.back(lasted[server][1]) is not None, 60)
            storm.flows()
    for server, storm in blown.items():
        equal(storm.lost(stack.address(server)), [], f"restarted {server}")
        started, ended = lasted[server]
        true(ended - started < 20, f"{server} had to be killed")
        tell(f"{server}: {shown(storm, started, ended, ended)}")


@test
def a_primary_is_cut_off_from_its_network(stack):
    containers = {server: stack.container(server) for server in PRIMARIES}
    network = stack.network()
    fault(
        stack,
        "cut-off",
        lambda server: docker("network", "disconnect", network, containers[server]),
        lambda server: docker("network", "connect", "--alias", server, network, containers[server]),
    )


@test
def a_gateway_that_is_cut_off_says_so_when_asked(stack):
    ready = lambda query="": get("127.0.0.1", stack.ports["ADMIN"], f"/readyz{query}")
    away = lambda: ready("?primaries").status == 503
    until("the primary is reached", lambda: not away())
    container, network = stack.container("knot"), stack.network()
    docker("network", "disconnect", network, container)
    cut = time.monotonic()
    try:
        # Nobody updates anything, and nothing tells that the open connection leads nowhere.
        until("it is missed", away)
        missed = time.monotonic()
        said = ready("?primaries").body
        true(said.startswith("not ready\nzone dyn.example: no primary can be reached: knot:53: "), said)
        equal(ready().status, 200, "it serves all the same")
        said = run("docker", "exec", stack.container("dyngate"), "dyngate", "health", "--primaries", check=False)
        true("the gateway cannot serve now: not ready" in said, said)
    finally:
        docker("network", "connect", "--alias", "knot", network, container)
    there = time.monotonic()
    until("it is back", lambda: not away())
    tell(f"missed after {missed - cut:.1f} s, back after {time.monotonic() - there:.1f} s")


@test
def a_primary_is_slowed(stack):
    containers = {server: stack.container(server) for server in PRIMARIES}
    fault(
        stack,
        "slowed",
        lambda server: docker("update", "--cpus", "0.01", containers[server]),
        lambda server: docker("update", "--cpus", "2", containers[server]),
        quiet=False,
    )


@test
def a_gateway_is_rolled_under_load(stack):
    storm = storms(stack, "rolled", ["knot"])["knot"]
    with storm:
        before = stack.container("dyngate")
        started = time.monotonic()
        stack.compose("up", "--detach", "--no-build", "--no-deps", "--force-recreate", "dyngate")
        ended = time.monotonic()
        true(stack.container("dyngate") != before, "another container")
        stack.healthy("dyngate")
        storm.flows()
    equal(storm.lost(stack.address("knot")), [], "rolled")
    tell(f"one gateway, recreated: {shown(storm, started, ended, ended)}")


def cluster(stack, label):
    return Storm(stack.ports["CLUSTER_HTTP"], stack.secret(), "cluster.example", label)


@test
def two_gateways_are_rolled_one_after_the_other(stack):
    with cluster(stack, "both-rolled") as storm:
        started = time.monotonic()
        for service in ["dyngate-a", "dyngate-b"]:
            stack.compose("up", "--detach", "--no-build", "--no-deps", "--force-recreate", service)
            stack.healthy(service)
            # The log of a new container is its own alone.
            until(f"haproxy sends routers to {service}", lambda: storm.label in stack.logs(service))
        ended = time.monotonic()
        storm.flows()
    equal(storm.lost(stack.address("knot")), [], "both rolled")
    tell(f"two gateways behind haproxy: {shown(storm, started, ended, ended)}")


@test
def one_of_two_gateways_is_killed(stack):
    container = stack.container("dyngate-a")
    with cluster(stack, "one-killed") as storm:
        started = time.monotonic()
        docker("kill", container)
        killed = time.monotonic()
        storm.flows()
        first = storm.back(killed)
        docker("start", container)
        stack.healthy("dyngate-a")
        storm.flows()
    equal(storm.lost(stack.address("knot")), [], "one killed")
    during = ", ".join(f"{count} {said}" for said, count in sorted(storm.tally(started).items()))
    tell(f"{storm.reports()} reports of {len(storm.names)} hosts; from the kill on: {during}; acknowledged again {first - killed:.1f} s after it; none lost")


@test
def postgres_is_paused_and_restarted(stack):
    container = stack.container("postgres")
    with cluster(stack, "store") as storm:
        started = time.monotonic()
        try:
            stack.pause("postgres")
            time.sleep(5)
        finally:
            ended = time.monotonic()
            stack.unpause("postgres")
        until("the gateways are back", lambda: storm.back(ended) is not None)
        storm.flows()
        again = time.monotonic()
        docker("restart", "--time", "20", container)
        up = time.monotonic()
        storm.flows()
    equal(storm.lost(stack.address("knot")), [], "store")
    tell(f"paused: {shown(storm, started, ended, ended)}")
    tell(f"restarted: {shown(storm, again, up, up)}")
    stack.healthy("postgres")


@test
def a_client_behind_haproxy_is_known_by_its_own_address(stack):
    secret = stack.secret()
    request = f"GET /nic/update?hostname=home.cluster.example&myip=198.51.100.9 HTTP/1.0\\r\\nAuthorization: Basic $(printf '{LOGIN}:{secret}' | base64)\\r\\n\\r\\n"
    addresses, said = stack.client(f"exec 3<>/dev/tcp/haproxy/8245; printf \"{request}\" >&3; cat <&3")
    true("good 198.51.100.9" in said or "nochg 198.51.100.9" in said, said)
    lines = [line for service in ["dyngate-a", "dyngate-b"] for line in stack.logs(service).splitlines() if "home.cluster.example" in line and '198.51' not in line]
    own = [line for line in lines if any(f"source={address} " in line for address in addresses)]
    true(own, f"no line of {addresses}: {lines[-3:]}")
    true(stack.address("haproxy") not in addresses, "the client is another container than haproxy")
    tell(f"client {', '.join(addresses)}, haproxy {stack.address('haproxy')}; logged: {own[-1].split('request ', 1)[1].split(' reason', 1)[0]}")
    # Who is no proxy of ours cannot speak to such a listener: no PROXY header, no answer.
    _, said = stack.client("exec 3<>/dev/tcp/dyngate-a/8245; printf 'GET /myip HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3 || true")
    true("200" not in said, said)


@test
def containers_speak_ipv6(stack):
    primary, gateway = stack.address("knot", "GlobalIPv6Address"), stack.address("dyngate", "GlobalIPv6Address")
    true(primary and gateway, "addresses")
    secret = stack.secret()
    said = update(8245, secret, "six.office.dyn.example", "2001:db8::6", machine=gateway)
    equal(said.body, "good 2001:db8::6", "from the host")
    equal(resolve(primary, "six.office.dyn.example", family=6), ["2001:db8::6"], "read over IPv6")
    addresses, said = stack.client(f"exec 3<>/dev/tcp/{gateway}/8245; printf 'GET /myip HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3")
    true(any(said.rstrip().endswith(address) for address in addresses if ":" in address), f"{addresses}: {said}")
    # A gateway that knows its primary by an IPv6 address alone.
    name = f"{stack.project}-six"
    script = f"sed -e 's|\"knot\"|\"[{primary}]:53\"|' -e 's|^url = .*|url = \"memory:\"|' /secrets/gateway.toml >/secrets/six.toml && chgrp 8245 /secrets/six.toml && chmod 640 /secrets/six.toml"
    stack.compose("run", "--rm", "prepare", "sh", "-c", script)
    docker(
        *["run", "--detach", "--name", name, "--label", f"com.docker.compose.project={stack.project}", "--network", stack.network()],
        *["--volume", f"{stack.project}_secrets:/secrets:ro", "--group-add", "8245", "--env", "DYNGATE_CONFIG=/secrets/six.toml", "--read-only"],
        f"dyngate:{stack.project}",
    )
    try:
        own = json.loads(docker("inspect", name))[0]["NetworkSettings"]["Networks"][stack.network()]["GlobalIPv6Address"]
        ready = lambda: run("docker", "exec", name, "dyngate", "health", check=False).startswith("ready")
        until("the gateway with an IPv6 primary is ready", ready)
        said = update(8245, secret, "six.office.dyn.example", "2001:db8::66", machine=own)
        equal(said.body, "good 2001:db8::66", docker("logs", name))
        equal(resolve(primary, "six.office.dyn.example", family=6), ["2001:db8::66"], "the primary's zone")
    finally:
        docker("rm", "--force", name)
    tell(f"client to gateway [{gateway}], gateway to primary [{primary}]")


@test
def a_gateway_stops_in_grace(stack):
    container = stack.container("dyngate")
    began = time.monotonic()
    docker("stop", "--time", "25", container)
    took = time.monotonic() - began
    state = stack.inspect("dyngate")["State"]
    docker("start", container)
    equal((state["ExitCode"], state["OOMKilled"]), (0, False), docker("logs", "--tail", "5", container))
    stack.healthy("dyngate")
    tell(f"exit code 0 after {took:.1f} s")


@test
def what_is_wrong_says_what_to_do(stack):
    # A store that belongs to root: the compose file mends it, a container of one's own says whose it must be.
    volume = f"{stack.project}_rooted"
    docker("volume", "create", "--label", f"com.docker.compose.project={stack.project}", volume)
    own = ["run", "--rm", "--volume", f"{stack.project}_secrets:/secrets:ro", "--env", "DYNGATE_CONFIG=/secrets/gateway.toml", "--network=none"]
    docker("run", "--rm", "--volume", f"{volume}:/store", "debian:trixie-slim", "sh", "-c", "touch /store/x; chown 0:0 /store; chmod 755 /store")
    said = run("docker", *own, "--group-add", "8245", "--volume", f"{volume}:/var/lib/dyngate", f"dyngate:{stack.project}", check=False)
    true("(65532) may not read and write /var/lib/dyngate/dyngate.db" in said, said)
    said = docker("run", "--rm", "--user", "0", "--volume", f"{ROOT}/packaging/compose:/compose:ro", "--volume", f"{volume}:/stores/store", "dyngate-knot:3.4", "sh", "-c", "mkdir /secrets; sh /compose/prepare.sh")
    true("the volume store belonged to user 0; it is given to user 65532" in said, said)
    tell(said.splitlines()[0])
    # A key that this user may not read, or that is not there.
    said = run("docker", *own, f"dyngate:{stack.project}", check=False)
    true("cannot be read: Permission denied" in said and "let the user that dyngate runs as read it" in said, said)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        text = (ROOT / "packaging/compose/gateway.toml").read_text()
        (Path(folder) / "gateway.toml").write_text(text)
        said = run("docker", "run", "--rm", "--network=none", "--volume", f"{folder}:/etc/dyngate:ro", f"dyngate:{stack.project}", check=False)
    true('"gateway-key.key" cannot be read: No such file or directory' in said and "looked for at /etc/dyngate/gateway-key.key" in said, said)
    tell(said.strip().splitlines()[1])
    # A port that somebody has.
    said = run("docker", "run", "--rm", "--publish", f"127.0.0.1:{stack.ports['HTTP']}:8245", f"dyngate:{stack.project}", check=False)
    true("port is already allocated" in said or "address already in use" in said, said)


@test
def volumes_outlive_down_and_up(stack):
    secret = stack.secret()
    cases = [(server, port, f"home.{zone}") for server, (port, _, zone) in PRIMARIES.items()] + [("knot", "CLUSTER_HTTP", "home.cluster.example")]
    for _, port, host in cases:
        update(stack.ports[port], secret, host, "203.0.113.99")
    seen = lambda service: json.loads(docker("exec", stack.container(service), "dyngate", "host", "show", "home.dyn.example", "--json"))
    until("the store has seen the host", lambda: seen("dyngate")["ipv4"] == "203.0.113.99", 10)
    last = seen("dyngate")["last_update"]
    began = time.monotonic()
    stack.compose("down", "--timeout", "30")
    down = time.monotonic()
    stack.up()
    up = time.monotonic()
    equal(stack.secret(), secret, "secret")
    equal(seen("dyngate")["last_update"], last, "what the store holds")
    for server, port, host in cases:
        equal(resolve(stack.address(server), host), ["203.0.113.99"], server)
        equal(update(stack.ports[port], secret, host, "203.0.113.99").body, "nochg 203.0.113.99", server)
    tell(f"down in {down - began:.1f} s, up and healthy in {up - down:.1f} s")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--image", default="dyngate:latest")
    arguments.add_argument("names", nargs="*", metavar="NAME")
    chosen = arguments.parse_args()
    wanted = [one for one in TESTS if not chosen.names or any(name in one.__name__ for name in chosen.names)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    engine = docker("version", "--format", "{{.Server.Version}}").strip()
    compose = " ".join(compose_command())
    print(f"engine {engine}, {compose} {run(*compose_command(), 'version', '--short').strip()}", flush=True)
    stack = Stack(chosen.image)
    failed = []

    def show():
        print(stack.compose("ps", "--all", check=False))
        print(stack.compose("logs", "--no-color", "--tail", "15", check=False)[-12000:], flush=True)

    try:
        try:
            stack.up()
        except AssertionError:
            show()
            raise
        print(f"project {stack.project} is up after {time.monotonic() - began:.1f} s", flush=True)
        for one in wanted:
            at = time.monotonic()
            print(one.__name__.replace("_", " "), flush=True)
            try:
                one(stack)
                tell(f"ok ({time.monotonic() - at:.1f} s)")
            except Exception:
                failed.append(one.__name__)
                traceback.print_exc(file=sys.stdout)
                show()
    finally:
        stack.remove()
    left = stack.left()
    if left:
        failed.append(f"left behind: {left}")
    print(f"{time.monotonic() - began:.0f} s in all; containers, networks and volumes that are left: {len(left)}")
    print(f"{len(wanted) - len(failed)} passed, {len(failed)} failed", flush=True)
    sys.exit(1 if failed else 0)


main()
