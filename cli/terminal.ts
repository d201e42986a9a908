/** The user's terminal in raw mode, and back as it was however we end. */
import type { ReadStream, WriteStream } from 'node:tty';

export interface Size {
  readonly rows: number;
  readonly columns: number;
}

/** Every key goes to the command from now on. Gives what ends that; an end of the process does too. */
export function rawMode(input: ReadStream): () => void {
  const restore = (): void => {
    input.setRawMode(false);
  };
  // Also on an uncaught error: its report ends the process through here. What no handler can catch, the shell mends.
  process.on('exit', restore);
  const onSignal = (signal: NodeJS.Signals): void => {
    restore();
    process.kill(process.pid, signal);
  };
  const signals = ['SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
  for (const signal of signals) process.once(signal, onSignal);
  input.setRawMode(true);
  return () => {
    process.off('exit', restore);
    for (const signal of signals) process.off(signal, onSignal);
    restore();
  };
}

/** Undefined when the terminal does not know its size. */
export function sizeOf(output: WriteStream): Size | undefined {
  const { rows, columns } = output;
  return rows > 0 && columns > 0 ? { rows, columns } : undefined;
}
