"""The compose file as a project of its own, and what stands around it: ports, addresses, HTTP, DNS, routers that storm it.

Knows nothing of what is tested. The standard library, `docker` and Compose are all it needs.
"""

import base64
import collections
import http.client
import json
import os
import random
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ["bind", "powerdns", "cluster"]
LOGIN = "router1"


def run(*command, check=True, timeout=600, **more):
    """The output of a command, standard error in it; an error that shows it where it fails and must not."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, stdin=subprocess.DEVNULL, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def docker(*arguments, **more):
    return run("docker", *arguments, **more)


def compose_command():
    """`docker compose` where Compose is a part of docker, else the program of its own."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def free_port():
    """A port that was free a moment ago, below those that the kernel hands out by itself."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("0.0.0.0", port))
                udp.bind(("0.0.0.0", port))
                return port
            except OSError:
                continue


def until(what, condition, seconds=60):
    """Waits until `condition` holds, and returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


class Stack:
    """One project of docker-compose.yml with all profiles: containers, networks and volumes that are its alone."""

    def __init__(self, image):
        self.project = f"dyngate-test-{os.getpid()}-{random.randrange(16**6):06x}"
        self.scratch = tempfile.TemporaryDirectory()
        self.compose_program = compose_command()
        self.ports = {}
        # An image of its own name: another run may build another `image` meanwhile.
        docker("tag", image, f"dyngate:{self.project}")
        # A network of its own that speaks IPv6 too (RFC 4193).
        prefix = "fd" + ":".join(f"{random.randrange(16**4):04x}" for _ in range(4))[2:]
        self.override = Path(self.scratch.name) / "override.yml"
        self.override.write_text(
            "networks:\n  default:\n    enable_ipv6: true\n    ipam:\n      config:\n"
            f"        - subnet: {prefix}::/64\n"
        )

    def environment(self):
        names = ["HTTP", "BIND_HTTP", "POWERDNS_HTTP", "CLUSTER_HTTP"]
        local = {f"DYNGATE_{name}": f"127.0.0.1:{self.ports[name]}" for name in [*names, "ADMIN", "DNS"]}
        return os.environ | local | {"DYNGATE_VERSION": self.project, "DYNGATE_LIMITS": "off"}

    def compose(self, *arguments, profiles=tuple(PROFILES), **more):
        files = ["--file", str(ROOT / "docker-compose.yml"), "--file", str(self.override)]
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        command = [*self.compose_program, "--project-name", self.project, "--project-directory", str(ROOT), *files, *chosen, *arguments]
        return run(*command, env=self.environment(), **more)

    def up(self):
        for attempt in range(3):
            if not self.ports or attempt:
                names = ["HTTP", "BIND_HTTP", "POWERDNS_HTTP", "CLUSTER_HTTP", "ADMIN", "DNS"]
                self.ports = {name: free_port() for name in names}
            try:
                return self.compose("up", "--detach", "--no-build")
            except AssertionError as error:
                if "already allocated" not in str(error) and "already in use" not in str(error) or attempt == 2:
                    raise

    def remove(self):
        """All that bears the project's name, also where Compose itself failed."""
        if self.ports:
            self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)
        label = f"label=com.docker.compose.project={self.project}"
        for kind, remove in [("container", ["rm", "--force", "--volumes"]), ("network", ["rm"]), ("volume", ["rm", "--force"])]:
            every = ["--all"] if kind == "container" else []
            for one in docker(kind, "ls", "--quiet", *every, "--filter", label, check=False).split():
                docker(kind, *remove, one, check=False)
        docker("image", "rm", f"dyngate:{self.project}", check=False)
        self.scratch.cleanup()

    def left(self):
        """What still bears the project's name."""
        found = []
        for kind, every in [("container", ["--all"]), ("network", []), ("volume", [])]:
            found += docker(kind, "ls", "--quiet", *every, "--filter", f"label=com.docker.compose.project={self.project}").split()
        return found

    def container(self, service):
        labels = {"project": self.project, "service": service, "oneoff": "False"}
        filters = [word for name, value in labels.items() for word in ("--filter", f"label=com.docker.compose.{name}={value}")]
        (container,) = docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()
        return container

    def inspect(self, service):
        return json.loads(docker("inspect", self.container(service)))[0]

    def network(self):
        return f"{self.project}_default"

    def address(self, service, field="IPAddress"):
        """The address of a service on the project's network; GlobalIPv6Address is the other one."""
        return self.inspect(service)["NetworkSettings"]["Networks"][self.network()][field]

    def healthy(self, service, seconds=90):
        until(f"{service} is healthy", lambda: self.inspect(service)["State"]["Health"]["Status"] == "healthy", seconds)

    def client(self, script):
        """What a shell of a container of its own prints, on the project's network; and the address that it had."""
        name = f"{self.project}-client-{random.randrange(16**6):06x}"
        label = f"com.docker.compose.project={self.project}"
        try:
            said = docker("run", "--name", name, "--label", label, "--network", self.network(), "dyngate-knot:3.4", "bash", "-c", f"hostname -i; {script}")
        finally:
            docker("rm", "--force", name, check=False)
        addresses, _, rest = said.partition("\n")
        return addresses.split(), rest

    def pause(self, service):
        """Freezes a service; runc on a busy machine may need more than one try ("unable to freeze")."""
        container = self.container(service)
        for attempt in range(10):
            try:
                docker("pause", container)
                return
            except AssertionError:
                docker("unpause", container, check=False)
                if attempt == 9:
                    raise
                time.sleep(0.2)

    def unpause(self, service):
        docker("unpause", self.container(service))

    def logs(self, service):
        return docker("logs", self.container(service))

    def secret(self):
        return self.logs("try").split("secret ", 1)[1].split()[0]


Answer = collections.namedtuple("Answer", "status body")


def get(host, port, path, login=None, secret=None, timeout=10):
    """One request over a connection of its own."""
    headers = {"User-Agent": "suite/1.0"}
    if login:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{login}:{secret}".encode()).decode()
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode())
    finally:
        connection.close()


def update(port, secret, host, address, machine="127.0.0.1", login=LOGIN):
    query = urllib.parse.urlencode({"hostname": host, "myip": address})
    return get(machine, port, f"/nic/update?{query}", login, secret)


def resolve(server, name, family=4, port=53):
    """The addresses of `name` as this server has them (RFC 1035), over UDP, asked again where a datagram is lost."""
    kind = {4: 1, 6: 28}[family]
    number = random.randrange(65536)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack("!HH", kind, 1)
    query = struct.pack("!6H", number, 0, 1, 0, 0, 0) + question
    for _ in range(10):
        with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(2)
            udp.connect((server, port))
            try:
                udp.send(query)
                answer = udp.recv(4096)
            except OSError:
                time.sleep(0.2)
                continue
        if answer[:2] == query[:2]:
            return sorted(records(answer, len(question), kind))
    raise AssertionError(f"{server} does not answer for {name}")


def records(answer, question, kind):
    count = struct.unpack("!H", answer[6:8])[0]
    at = 12 + question
    for _ in range(count):
        # An owner name is a pointer here, or labels that may end in one.
        while answer[at] and answer[at] < 0xC0:
            at += 1 + answer[at]
        at += 2 if answer[at] >= 0xC0 else 1
        found, _, _, length = struct.unpack("!HHIH", answer[at : at + 10])
        data = answer[at + 10 : at + 10 + length]
        at += 10 + length
        if found == kind:
            yield socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data)


class Storm:
    """Routers that report one address after another, each again and again until it is acknowledged, as routers do."""

    PAUSE = 0.1
    AGAIN = 0.25

    def __init__(self, port, secret, zone, label, routers=6):
        self.port, self.secret, self.label = port, secret, label
        self.names = [f"{label}-{number}.office.{zone}" for number in range(routers)]
        self.acknowledged = {}
        self.seen = []  # (when, what was answered, after how many seconds)
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.router, args=(name, number), daemon=True) for number, name in enumerate(self.names)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.flows()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(90)
        self.unfinished = [thread for thread in self.threads if thread.is_alive()]

    def router(self, name, number):
        count = 0
        while not self.stopping.is_set():
            count += 1
            address = f"198.51.{100 + number}.{count % 250 + 1}" if count % 2 else f"203.0.{113 + number}.{count % 250 + 1}"
            end = time.monotonic() + 80
            while time.monotonic() < end:
                said = self.report(name, address)
                if said in ("good", "nochg"):
                    with self.lock:
                        self.acknowledged[name] = address
                    break
                time.sleep(self.AGAIN)
            else:
                return  # told by the test: the name has no last word
            time.sleep(self.PAUSE)

    def report(self, name, address):
        asked = time.monotonic()
        try:
            answer = update(self.port, self.secret, name, address)
            said = answer.body.split()[0] if answer.body else str(answer.status)
        except OSError:
            said = "no connection"
        except http.client.HTTPException:
            said = "no answer"
        with self.lock:
            self.seen.append((time.monotonic(), said, time.monotonic() - asked))
        return said

    def flows(self, seconds=60):
        """Waits until every router was acknowledged since now."""
        since = time.monotonic()
        wanted = 2 * len(self.names)
        until(f"the storm {self.label} flows: {self.tally(since)}", lambda: self.tally(since)["good"] >= wanted, seconds)

    def tally(self, since=0.0, before=float("inf")):
        with self.lock:
            return collections.Counter(said for when, said, _ in self.seen if since <= when < before)

    def median(self, since, before):
        """How long it took until somebody was acknowledged, in milliseconds."""
        with self.lock:
            took = [took for when, said, took in self.seen if since <= when < before and said in ("good", "nochg")]
        return statistics.median(took) * 1000 if took else None

    def back(self, since):
        """When somebody was acknowledged first."""
        with self.lock:
            return min((when for when, said, _ in self.seen if when >= since and said in ("good", "nochg")), default=None)

    def lost(self, server):
        """Names that do not hold what was acknowledged last; the storm must have ended."""
        if self.unfinished:
            return [f"{self.label}: {len(self.unfinished)} routers were not acknowledged to the end"]
        wrong = []
        for name in self.names:
            held = resolve(server, name)
            if held != [self.acknowledged.get(name)]:
                wrong.append(f"{name}: acknowledged {self.acknowledged.get(name)}, held {held}")
        return wrong

    def reports(self):
        """How many reports there were, answers how ever."""
        return len(self.seen)
