import { absent, type Architecture, deniedGroups, numberOn, x32Bit } from "./seccomp-rules.ts";

/** What the host puts in the way before the probes run, and looks at after them. */
export interface Plants {
  /** A file of ours outside, and what stands in it. */
  file: string;
  secret: string;
  /** A port of this machine on which we listen. */
  port: number;
  /** A process of ours. */
  pid: number;
  /** A word of that process's command line, of letters, digits and dots. */
  mark: string;
}

/** A question put inside the sandbox: a POSIX shell script that prints `held`, or what it found instead. */
export interface Probe {
  name: string;
  script: string;
}

/** Prints held if the command fails or prints nothing. */
const nothing = (command: string) =>
  `found=$( { ${command}; } 2>/dev/null | head -c 200 ); [ -z "$found" ] && echo held || echo "found: $found"`;
const fails = (command: string) =>
  `if ( ${command} ) >/dev/null 2>&1; then echo "it worked"; else echo held; fi`;
const unwritable = (folders: string) =>
  nothing(`for at in ${folders}; do : > $at/.probe && echo $at && rm -f $at/.probe; done`);

/** What is asked in plain shell. Nothing here does harm to a host that it reaches. */
export function shellProbes(
  { file, secret, port, pid, mark }: Plants,
  inContainer = false,
): Probe[] {
  const probes: Record<string, string> = {
    "network: this machine": fails(`timeout 2 bash -c 'exec 9<>/dev/tcp/127.0.0.1/${port}'`),
    "network: elsewhere": fails(`timeout 2 bash -c 'exec 9<>/dev/tcp/1.1.1.1/80'`),
    "network: interfaces": nothing("tail -n +3 /proc/net/dev | grep -v '^ *lo:'"),
    "network: names of this machine": nothing("cat /etc/hosts /etc/resolv.conf /etc/hostname"),
    "environment: its own": nothing(
      "env | cut -d= -f1 | grep -vxE 'PATH|HOME|TMPDIR|LANG|PYTHON[A-Z]*|PWD|OLDPWD|SHLVL|_'",
    ),
    "environment: of other processes": nothing(
      "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | cut -d= -f1 | grep -vxE 'PATH|HOME|TMPDIR|LANG|PYTHON[A-Z]*|PWD|OLDPWD|SHLVL|_|'",
    ),
    "host files: one of ours": nothing(
      `cat ${file} /proc/1/root${file} /proc/self/root${file} /proc/1/cwd${file} | grep ${secret}`,
    ),
    "host files: homes, state, devices": nothing(
      "ls -d /root /home /var /run /boot /sys /media /srv /mnt/*",
    ),
    "host files: accounts": nothing("cat /etc/passwd /etc/shadow /etc/group"),
    "host files: sockets of services": nothing(
      "ls /run/*.sock /var/run/*.sock /run/user /run/dbus",
    ),
    "symlinks: to a file of ours": nothing(`ln -s ${file} link && cat link; rm -f link`),
    "symlinks: through /proc": nothing(
      `for pid in /proc/[0-9]*; do cat $pid/root${file} $pid/cwd/..${file}; done`,
    ),
    "hard links: to a program": fails("ln /usr/bin/env hard"),
    "writing: the system": unwritable("/ /usr /usr/bin /usr/local /etc /lib /opt /opt/bin"),
    "writing: /dev": unwritable("/dev"),
    "writing: over a program": fails(": >> /usr/bin/env"),
    "writing: a file of ours": fails(`: >> ${file}`),
    "/proc: settings of the kernel": nothing(
      "for at in /proc/sys/kernel/hostname /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sysrq-trigger; do ( : >> $at ) && echo $at; done",
    ),
    // A container's is writable: so that it is spared when memory runs out must be beyond it.
    "/proc: its own settings": fails(`echo ${inContainer ? -1 : 1} > /proc/self/oom_score_adj`),
    "/proc: memory of the machine": nothing("head -c 64 /proc/kcore; head -c 64 /dev/mem"),
    "/proc: processes of the host": nothing(
      `for at in /proc/[0-9]*; do case $(tr '\\0' ' ' < $at/cmdline) in *${mark}*) echo $at;; esac; done`,
    ),
    // How many keys a user has is hidden by no engine.
    "keyring: listed": nothing(`cat /proc/keys ${inContainer ? "" : "/proc/key-users"}`),
    "signals: a process of ours": `kill -TERM ${pid} 2>/dev/null; echo held`,
    "namespaces: of users": fails("unshare --user true"),
    "namespaces: root of one": fails("unshare --user --map-root-user true"),
    "namespaces: of mounts": fails("unshare --mount true"),
    "namespaces: entering one": fails("nsenter --target 1 --mount true"),
    "mounts: a new one": fails("mount -t tmpfs none /tmp"),
    "mounts: writable again": fails("mount -o remount,rw / || mount -o remount,rw /usr"),
    "mounts: away": fails("umount /proc"),
    chroot: fails("chroot /tmp true"),
    "devices: others than the harmless": nothing(
      `ls /dev | grep -vxE 'null|zero|full|random|urandom|tty|console|fd|stdin|stdout|stderr|core|shm|pts|ptmx${inContainer ? "|mqueue" : ""}'`,
    ),
    "devices: making one": fails("mknod /tmp/disk b 8 0"),
    "rights: capabilities": nothing(
      "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | grep -v 0000000000000000",
    ),
    "rights: none by setuid": nothing("grep NoNewPrivs /proc/self/status | grep -v '1$'"),
    "rights: supplementary groups": nothing(
      "for id in $(sed -n 's/^Groups:[[:space:]]*//p' /proc/self/status); do [ $id = 65534 ] || echo $id; done",
    ),
    "filter: bound": nothing("grep '^Seccomp:' /proc/self/status | grep -v '2$'"),
    // Of an inherited descriptor the null device is left in its place.
    "descriptors: three alone": nothing(
      "for fd in /proc/self/fd/*; do case ${fd##*/} in 0|1|2) ;; *) readlink $fd;; esac; done | grep -vE '^/dev/null$|^/proc/'",
    ),
    "core dumps": nothing("ulimit -c | grep -vx 0"),
    "floods: of a file": fails("head -c 200M /dev/zero > big"),
    "floods: of folders": nothing(
      "for n in 1 2 3; do head -c 60M /dev/zero > /tmp/$n; done; du -sm /tmp | awk '$1 > 65'; rm -f /tmp/[123] /sandbox/big",
    ),
    "floods: of shared memory": fails("head -c 40M /dev/zero > /dev/shm/big"),
    "floods: of memory": fails("dd if=/dev/zero of=/dev/null bs=1200M count=1"),
    "floods: of open files": nothing("ulimit -n | awk '$1 == \"unlimited\" || $1 > 1024'"),
    "floods: of processes": fails(
      "exec 2>/dev/null; n=0; while [ $n -lt 600 ]; do sleep 1 & n=$((n+1)); done; [ $n -ge 600 ] && [ $(ls -d /proc/[0-9]* | wc -l) -gt 400 ]",
    ),
  };
  // An image has folders of these names itself; what of ours could stand there is asked for by the others.
  if (inContainer) delete probes["host files: homes, state, devices"];
  return Object.entries(probes).map(([name, script]) => ({ name, script }));
}

/** A system call with its number and arguments; held if the kernel answers EPERM, ENOSYS or EAFNOSUPPORT. */
interface RawCall {
  name: string;
  number: number;
  arguments: readonly number[];
}

/**
 * The calls themselves, made by Perl or Python: what the shell has no program for. All arguments are -1 where the call
 * is refused by its number alone, so that one that is not refused fails for another reason and does nothing.
 *
 * @param inContainer asks of no call that an engine's library may not know yet: libseccomp 2.5 of Debian 12 knows those of
 * Linux 5.19
 */
export function rawProbes(architecture: Architecture, inContainer = false): Map<string, RawCall[]> {
  const groups = new Map<string, RawCall[]>();
  for (const [group, calls] of Object.entries({ ...deniedGroups, "newer calls": absent })) {
    const list = Object.entries(calls).flatMap(([name, numbers]) => {
      const number = numberOn(architecture, numbers);
      const isAsked = number !== null && !(inContainer && number > newestInContainers);
      return !isAsked ? [] : [{ name, number, arguments: Array<number>(6).fill(-1) }];
    });
    groups.set(`calls: ${group}`, list);
  }
  const isX64 = architecture === "x64";
  const [socket, pair, clone, fcntl, ioctl] = isX64
    ? [41, 53, 56, 72, 16]
    : [198, 199, 220, 25, 29];
  const families = { NETLINK: 16, PACKET: 17, BLUETOOTH: 31, ALG: 38, VSOCK: 40, XDP: 44 };
  groups.set(
    "sockets: other families",
    Object.entries(families).map(([name, family]) => ({
      name: `AF_${name}`,
      number: socket,
      arguments: [family, 2, 0],
    })),
  );
  groups.set("sockets: raw", [
    { name: "SOCK_RAW", number: socket, arguments: [2, 3, 1] },
    { name: "socketpair", number: pair, arguments: [16, 2, 0] },
  ]);
  // CLONE_NEWUSER and CLONE_NEWNET; the signal that ends such a child is SIGCHLD.
  groups.set("calls: clone into namespaces", [
    { name: "user", number: clone, arguments: [0x1000_0011, 0, 0, 0, 0] },
    { name: "net", number: clone, arguments: [0x4000_0011, 0, 0, 0, 0] },
  ]);
  groups.set("calls: larger pipes", [
    { name: "F_SETPIPE_SZ", number: fcntl, arguments: [1, 1031, 1] },
  ]);
  groups.set("calls: typing into a terminal", [
    { name: "TIOCSTI", number: ioctl, arguments: [0, 0x5412, 0] },
  ]);
  groups.set("calls: of a kernel to come", [{ name: "600", number: 600, arguments: [] }]);
  return groups;
}

/** set_mempolicy_home_node; what came later among the refused calls, `statmount` and `listmount`, only reads. */
const newestInContainers = 450;

/**
 * Has the kernel fill enough buffers of sockets for more than a run's memory, and prints `limited` when it ended a process
 * or gave no more: in a container nobody looks at what they could hold.
 */
export function fillScript(): string {
  const perl = `use Socket; use IO::Handle; my @all; for (1 .. 30) { my $pid = fork; if (!$pid) { my @held; while (@held < 230) { socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or exit 1; push @held, $a, $b; for my $one ($a, $b) { $one->blocking(0); 1 while defined syswrite($one, "x" x 65536); exit 1 if $! != 11 } } sleep 30; exit 0 } push @all, $pid } for (@all) { wait; next if !$?; print "limited"; kill 9, @all; exit }`;
  const python = `
import os, signal, socket, time
def fill():
    held = []
    while len(held) < 230:
        pair = socket.socketpair(); held += pair
        for one in pair:
            one.setblocking(False)
            try:
                while True: one.send(b"x" * 65536)
            except BlockingIOError: pass
    time.sleep(30)
every = []
for _ in range(30):
    pid = os.fork()
    if pid == 0:
        try: fill(); os._exit(0)
        except BaseException: os._exit(1)
    every.append(pid)
for _ in every:
    if os.wait()[1] == 0: continue
    print("limited", flush=True)
    for pid in every: os.kill(pid, signal.SIGKILL)
    break`;
  return inEither(perl, python);
}

/** The same in whichever of the two is there. */
export const inEither = (perl: string, python: string): string =>
  `if [ -x /usr/bin/perl ]; then /usr/bin/perl -e '${perl}'; elif [ -x /usr/bin/python3 ]; then /usr/bin/python3 -I -S -c '${python}'; else echo none; fi`;

/** Prints a line `INDEX ERRNO` for each call of `lists`, 0 where it worked; made by whichever of the two is there. */
export function rawScript(lists: readonly RawCall[][]): string {
  const words = lists.flatMap((calls, index) =>
    calls.map((call) => [index, call.number, ...call.arguments].join(",")),
  );
  const perl = `for my $word (@ARGV) { my ($at, @call) = map { 0 + $_ } split /,/, $word; $! = 0; my $got = syscall($call[0], @call[1 .. $#call]); exit 0 if $got == 0 && $call[0] == ${process.arch === "x64" ? 56 : 220}; print "$at ", ($got == -1 ? 0 + $! : 0), "\\n" }`;
  const python = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for word in sys.argv[1:]:
    at, *call = map(int, word.split(","))
    got = libc.syscall(*map(ctypes.c_long, call))
    print(at, ctypes.get_errno() if got == -1 else 0, flush=True)`;
  const given = words.join(" ");
  return `if [ -x /usr/bin/perl ]; then /usr/bin/perl -e '$| = 1; ${perl}' -- ${given}; elif [ -x /usr/bin/python3 ]; then /usr/bin/python3 -I -S -c '${python}' ${given}; else echo none; fi`;
}

/** Makes a call as x32, which the filter answers by killing whoever made it. */
export function x32Script(): string {
  const perl = `syscall(${x32Bit + 39}); print "alive"`;
  return `[ -x /usr/bin/perl ] && { found=$(/usr/bin/perl -e '${perl}' 2>/dev/null); [ -z "$found" ] && echo held || echo "x32 answered"; } || echo "held"`;
}
