/**
 * What a sandboxed program may not ask of the kernel, by name, with the number on each architecture
 * (asm/unistd_64.h of x86-64, asm-generic/unistd.h of arm64); null where there is no such call.
 */
export type Architecture = "x64" | "arm64";
type Numbers = readonly [x64: number | null, arm64: number | null];

/** AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of linux/audit.h. */
export const auditArch: Record<Architecture, number> = { x64: 0xc000_003e, arm64: 0xc000_00b7 };

/** The newest call that was looked at (mseal, Linux 6.10). What is newer does not exist for the program. */
export const newestKnown = 462;

/** Bit of a number that asks for the x32 variant of an x86-64 call, which would pass a comparison of numbers. */
export const x32Bit = 0x4000_0000;

export const errno = { EPERM: 1, ENOSYS: 38, EAFNOSUPPORT: 97 } as const;

/**
 * Refused with EPERM. Of these the kernel refuses many by itself to a program without capabilities: here they are
 * closed once more, because most ways out of a namespace began with a call that the program had no use for.
 */
export const deniedGroups: Record<string, Record<string, Numbers>> = {
  // Keyrings are no namespace's: the worker's own would be in reach.
  keyrings: {
    add_key: [248, 217],
    request_key: [249, 218],
    keyctl: [250, 219],
  },
  // Memory that no process maps and that no limit of a process counts.
  memory: {
    shmget: [29, 194],
    shmat: [30, 196],
    shmctl: [31, 195],
    shmdt: [67, 197],
    msgget: [68, 186],
    msgsnd: [69, 189],
    msgrcv: [70, 188],
    msgctl: [71, 187],
    semget: [64, 190],
    semop: [65, 193],
    semctl: [66, 191],
    semtimedop: [220, 192],
    mq_open: [240, 180],
    mq_unlink: [241, 181],
    mq_timedsend: [242, 182],
    mq_timedreceive: [243, 183],
    mq_notify: [244, 184],
    mq_getsetattr: [245, 185],
    remap_file_pages: [216, 234],
    swapon: [167, 224],
    swapoff: [168, 225],
    mbind: [237, 235],
    set_mempolicy: [238, 237],
    get_mempolicy: [239, 236],
    set_mempolicy_home_node: [450, 450],
    migrate_pages: [256, 238],
    move_pages: [279, 239],
    io_setup: [206, 0],
    io_destroy: [207, 1],
    io_submit: [209, 2],
    io_cancel: [210, 3],
    io_getevents: [208, 4],
    io_pgetevents: [333, 292],
  },
  // Other processes.
  processes: {
    ptrace: [101, 117],
    process_vm_readv: [310, 270],
    process_vm_writev: [311, 271],
    process_madvise: [440, 440],
    process_mrelease: [448, 448],
    kcmp: [312, 272],
    pidfd_getfd: [438, 438],
    perf_event_open: [298, 241],
    lookup_dcookie: [212, 18],
  },
  // File systems.
  "file systems": {
    mount: [165, 40],
    umount2: [166, 39],
    pivot_root: [155, 41],
    chroot: [161, 51],
    open_tree: [428, 428],
    move_mount: [429, 429],
    fsopen: [430, 430],
    fsconfig: [431, 431],
    fsmount: [432, 432],
    fspick: [433, 433],
    mount_setattr: [442, 442],
    statmount: [457, 457],
    listmount: [458, 458],
    quotactl: [179, 60],
    quotactl_fd: [443, 443],
    name_to_handle_at: [303, 264],
    open_by_handle_at: [304, 265],
    nfsservctl: [180, 42],
    fanotify_init: [300, 262],
    fanotify_mark: [301, 263],
  },
  // The kernel and the machine.
  kernel: {
    bpf: [321, 280],
    kexec_load: [246, 104],
    kexec_file_load: [320, 294],
    init_module: [175, 105],
    finit_module: [313, 273],
    delete_module: [176, 106],
    create_module: [174, null],
    get_kernel_syms: [177, null],
    query_module: [178, null],
    reboot: [169, 142],
    syslog: [103, 116],
    acct: [163, 89],
    settimeofday: [164, 170],
    clock_settime: [227, 112],
    clock_adjtime: [305, 266],
    adjtimex: [159, 171],
    sethostname: [170, 161],
    setdomainname: [171, 162],
    iopl: [172, null],
    ioperm: [173, null],
    vhangup: [153, 58],
    uselib: [134, null],
    ustat: [136, null],
    sysfs: [139, null],
    _sysctl: [156, null],
    personality: [135, 92],
    modify_ldt: [154, null],
  },
  // Namespaces.
  namespaces: {
    unshare: [272, 97],
    setns: [308, 268],
  },
};

export const denied: Record<string, Numbers> = Object.assign({}, ...Object.values(deniedGroups));

/** Refused with ENOSYS: programs ask for these first and fall back to an older call when the kernel has none. */
export const absent: Record<string, Numbers> = {
  // Its flags stand in memory, where a filter can't read them. glibc falls back to clone.
  clone3: [435, 435],
  memfd_create: [319, 279],
  memfd_secret: [447, 447],
  userfaultfd: [323, 282],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
};

/** One condition on an argument of 32 bits; `in` holds for one of the values, `bits` where any of the bits is set. */
export type Condition =
  | { argument: number; mask?: number; in: readonly number[] }
  | { argument: number; mask?: number; notIn: readonly number[] }
  | { argument: number; bits: number };

/** Refused where all the conditions of a rule hold. */
export const restricted: {
  name: string;
  numbers: Numbers;
  when: readonly Condition[];
  error: number;
}[] = [
  // CLONE_NEWTIME can't be asked of clone; the others are NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
  {
    name: "clone",
    numbers: [56, 220],
    when: [{ argument: 0, bits: 0x7e02_0000 }],
    error: errno.EPERM,
  },
  // AF_UNIX, AF_INET and AF_INET6 alone: not AF_VSOCK, AF_ALG, AF_NETLINK, AF_PACKET or what comes.
  {
    name: "socket",
    numbers: [41, 198],
    when: [{ argument: 0, notIn: [1, 2, 10] }],
    error: errno.EAFNOSUPPORT,
  },
  // SOCK_STREAM, SOCK_DGRAM and SOCK_SEQPACKET; the flags above are SOCK_NONBLOCK and SOCK_CLOEXEC.
  {
    name: "socket",
    numbers: [41, 198],
    when: [{ argument: 1, mask: 0xf, notIn: [1, 2, 5] }],
    error: errno.EPERM,
  },
  {
    name: "socketpair",
    numbers: [53, 199],
    when: [{ argument: 0, notIn: [1] }],
    error: errno.EAFNOSUPPORT,
  },
  // SOL_SOCKET with SO_SNDBUF, SO_RCVBUF and their FORCE: what a socket holds is counted at its usual size.
  {
    name: "setsockopt",
    numbers: [54, 208],
    when: [
      { argument: 1, in: [1] },
      { argument: 2, in: [7, 8, 32, 33] },
    ],
    error: errno.EPERM,
  },
  // F_SETPIPE_SZ: likewise of a pipe.
  {
    name: "fcntl",
    numbers: [72, 25],
    when: [{ argument: 1, in: [1031] }],
    error: errno.EPERM,
  },
  // TIOCSTI and TIOCLINUX put words into the mouth of whoever sits at the terminal.
  {
    name: "ioctl",
    numbers: [16, 29],
    when: [{ argument: 1, in: [0x5412, 0x541c] }],
    error: errno.EPERM,
  },
];

export function numberOn(architecture: Architecture, [x64, arm64]: Numbers): number | null {
  return architecture === "x64" ? x64 : arm64;
}
