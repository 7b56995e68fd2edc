/** What a person can mend, said in one line; ends the program with its exit code. */
export class Trouble extends Error {
  override readonly name = "Trouble";
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** 1: the run failed, or something required is missing. 2: bad usage or configuration. 3: a service can't be reached. */
export type ExitCode = 1 | 2 | 3;
