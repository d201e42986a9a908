/** The contract of commands that users run in a container; part of runtime.ts. */

export interface TerminalSize {
  /** 1–65535, like `columns`. */
  readonly rows: number;
  readonly columns: number;
}

export interface OpenExecRequest {
  readonly args: readonly string[];
  /** `KEY=value`, added to the container's own environment. */
  readonly env: readonly string[];
  /** `name|uid[:group|gid]` by the container's own /etc/passwd; absent = the container's user. */
  readonly user?: string;
  /** Absolute; absent = the container's. */
  readonly workdir?: string;
  /** Every capability of the host's agent. */
  readonly privileged: boolean;
  /** A terminal of this size instead of pipes; `null` = a terminal of the kernel's size. */
  readonly terminal?: TerminalSize | null;
  /** Without it the command reads /dev/null. */
  readonly stdin: boolean;
  /** No streams; it goes on when we go. */
  readonly detached: boolean;
}

export interface ExecChunk {
  readonly stream: 'stdout' | 'stderr';
  /** Not empty. */
  readonly bytes: Uint8Array;
}

/** A command that runs. */
export interface ExecSession {
  /** Takes input; resolves when there is room for more. What a command does not read any more is dropped. */
  write(bytes: Uint8Array): Promise<void>;
  /** No more input: a command on pipes reads the end of its stdin. */
  closeInput(): void;
  /** For one reader, at the reader's pace. Ends when the command has ended and all it wrote was read. */
  readonly output: AsyncIterable<ExecChunk>;
  /** The exit code, 128 + signal when killed by one. Rejects with a ClusterError when that cannot be known. */
  readonly ended: Promise<number>;
  /** Of no effect without a terminal. */
  resize(size: TerminalSize): void;
  /** Kills the command and all it has started, unless it is detached. */
  kill(): void;
  /** The command on a terminal goes on without us: `output` ends, and `kill` only forgets it from then on. */
  detach(): void;
  /** Was started so, or let go by `detach`. */
  readonly isDetached: boolean;
}
