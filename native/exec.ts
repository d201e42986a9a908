/** Commands in containers whose streams are their caller's. */

export interface ExecStreamOptions {
  /** The container's cgroup, as in linux.cgroupsPath. */
  readonly cgroup: string;
  readonly shimPath: string;
  /** A terminal of the container's own devpts instead of pipes. */
  readonly terminal: boolean;
  /** Its size; 0 = the kernel's (0 × 0). */
  readonly rows: number;
  readonly columns: number;
  /** False: the command reads /dev/null. No matter with a terminal. */
  readonly stdin: boolean;
  /** No streams, and the command goes on when the caller goes. Never with a terminal. */
  readonly detached: boolean;
  /** Every capability that this process has, instead of the config's. */
  readonly privileged: boolean;
}

/** A command that runs. Each descriptor is the caller's to close; null = it has no such stream. */
export interface ExecStream {
  /** In the host's numbering. */
  readonly pid: number;
  /** Write end of a pipe. */
  readonly stdin: number | null;
  /** Read end of a pipe. It ends with the last process that holds the other end, which may outlive the command. */
  readonly stdout: number | null;
  readonly stderr: number | null;
  /** A stream socket, both directions; it ends with the command. */
  readonly terminal: number | null;
  /** The exit code, 128 + signal when killed by one. Rejects with EPROTO when its helper was killed. */
  readonly ended: Promise<number>;
  /** Sets the terminal's size, each from 1. */
  resize(rows: number, columns: number): void;
  /** Sends a signal to the command itself. */
  signal(number: number): void;
  /** Kills the command and everything it has started; of a detached one, only forgets it. `ended` then tells. */
  kill(): void;
  /** From now on the command goes on when the caller goes, and what its terminal says is dropped. Only with a terminal. */
  detach(): void;
}

/** Our ends of what a container says and is told. Both sockets are the caller's to close; they end with the container. */
export interface Listening {
  readonly isTerminal: boolean;
  /** Whether what is typed has anywhere to go. */
  readonly takesInput: boolean;
  /** stdout from it, and what is typed to it: a stream socket, both directions. With a terminal everything. */
  readonly io: number;
  /** stderr from it. */
  readonly stderr: number;
}

export interface ExecAddon {
  /**
   * Runs one more command in the container of (pid, startTime); resolves when exec has succeeded. The death of this process
   * kills the command and all it has started, unless it is detached. `configJson` as containerExec takes it.
   * Rejects with ESRCH when the container is gone, and as containerCreate does.
   */
  containerExecStream(
    pid: number,
    startTime: number,
    configJson: string,
    options: ExecStreamOptions,
  ): Promise<ExecStream>;
  /**
   * Listens to a container from now on; with `feeds` types too. Rejects with ENOENT or ESRCH when it has ended, EBUSY when too
   * many listen, ENOSYS when its shim is of an older agent.
   */
  containerAttach(stateDir: string, feeds: boolean): Promise<Listening>;
  /** Sets the size of the terminal of a container's first process. Rejects with ENOTTY when it has none. */
  containerResize(stateDir: string, rows: number, columns: number): Promise<void>;
  /** Bytes that wait to be read from a pipe. */
  waitingBytes(fd: number): number;
}
