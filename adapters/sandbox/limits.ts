const mebibyte = 1024 * 1024;

/**
 * What one sandboxed run may use. `dataBytes` is per process: measured, Node 24 starts with 768 MiB of it
 * and dies with 512. `residentBytes` is for all processes of the run together and is enforced by watching.
 */
export const limits = {
  /** RLIMIT_DATA, bytes. */
  dataBytes: 1024 * mebibyte,
  /** Anonymous and shared memory in use by the whole run, bytes. */
  residentBytes: 1024 * mebibyte,
  /** RLIMIT_NPROC: processes and threads. */
  processes: 128,
  /** RLIMIT_FSIZE, bytes. */
  fileBytes: 64 * mebibyte,
  /** RLIMIT_NOFILE. */
  openFiles: 256,
  /** Each of /tmp and the working directory, bytes. */
  folderBytes: 64 * mebibyte,
  /** /dev/shm, bytes. */
  sharedMemoryBytes: 16 * mebibyte,
  /** Kept of stdout and of stderr, bytes each. */
  outputBytes: 64 * 1024,
  /** Code, files and environment together, bytes. */
  programBytes: 16 * mebibyte,
} as const;
