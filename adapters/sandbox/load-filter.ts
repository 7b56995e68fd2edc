import { existsSync } from "node:fs";

/** The descriptor on which a box's command finds the filter. */
export const filterDescriptor = 4;

/** Numbers of the calls that a loader makes. */
const call =
  process.arch === "arm64"
    ? { keyctl: 219, close: 57, prctl: 167, prlimit: 261, seccomp: 277 }
    : { keyctl: 250, close: 3, prctl: 157, prlimit: 302, seccomp: 317 };

/**
 * Sets the resource limits of its first word, reads the filter, leaves the session keyring for an empty one, closes every
 * descriptor above 3, binds itself to the filter and becomes the command. It loads no module: each would take as long as
 * Perl itself.
 */
const perl = String.raw`
for (split /,/, shift) {
  my ($which, $most) = map { $_ + 0 } split /=/;
  syscall(${call.prlimit}, 0, $which, pack("QQ", $most, $most), 0) == 0 or die "limit $which: $!";
}
open(my $file, "<&=", ${filterDescriptor}) or die "no filter: $!";
binmode $file; local $/; my $filter = <$file>; close $file;
die "the filter is empty" if length($filter) < 8 || length($filter) % 8;
syscall(${call.keyctl}, 1, 0);
syscall(436, 4, 0xffffffff, 0) == 0 or do { syscall(${call.close}, $_) for 4 .. 255 };
syscall(${call.prctl}, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
my $program = pack("S x6 P", length($filter) / 8, $filter);
syscall(${call.seccomp}, 1, 0, $program) == 0 or die "seccomp: $!";
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!";
`;

const python = String.raw`
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for which, most in (map(int, limit.split("=")) for limit in sys.argv.pop(1).split(",")):
    if libc.syscall(*map(ctypes.c_long, (${call.prlimit}, 0, which)), ctypes.byref((ctypes.c_uint64 * 2)(most, most)), None) < 0:
        sys.exit(f"limit {which}: {os.strerror(ctypes.get_errno())}")
with open(${filterDescriptor}, "rb") as file: code = file.read()
if len(code) < 8 or len(code) % 8: sys.exit("the filter is empty")
class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
def call(*words):
    if libc.syscall(*[ctypes.c_long(word) if isinstance(word, int) else word for word in words]) < 0:
        sys.exit(f"call {words[0]}: {os.strerror(ctypes.get_errno())}")
libc.syscall(ctypes.c_long(${call.keyctl}), ctypes.c_long(1), None)
os.closerange(4, 1024)
call(${call.prctl}, 38, 1, 0, 0, 0)
call(${call.seccomp}, 1, 0, ctypes.byref(Program(len(code) // 8, code)))
os.execvp(sys.argv[1], sys.argv[1:])
`;

/**
 * The start of a command line that binds what follows to resource limits and, first, to the filter: util-linux of Debian
 * 12 has no program for it, but Perl, without which no Debian is installed, or Python can make the call. The word behind
 * it is the limits, `NUMBER=MOST` with commas between. Null where the sandbox would show neither.
 */
export function filterLoader(): string[] | null {
  if (existsSync("/usr/bin/perl")) return ["/usr/bin/perl", "-e", perl, "--"];
  if (existsSync("/usr/bin/python3")) return ["/usr/bin/python3", "-I", "-S", "-c", python];
  return null;
}
