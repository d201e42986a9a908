/** A program that runs beside a test, until the test ends it. */
import { spawn } from 'node:child_process';

export interface Background {
  /** Everything that it wrote so far. */
  said(): string;
  /** How it ended; undefined while it runs. */
  code(): number | undefined;
  signal(name: NodeJS.Signals): void;
}

/** Starts it. The caller ends it, also when the test fails. */
export function background(command: string, args: readonly string[], env = process.env): Background {
  const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  let ended: number | undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      text += chunk;
    });
  }
  child.once('exit', (code) => {
    ended = code ?? 128;
  });
  return { said: () => text, code: () => ended, signal: (name) => void child.kill(name) };
}
