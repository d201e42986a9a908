/** The attacker's half on the host, as another container with the same volume would be. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { builtFile } from '../../native/index.ts';

/** A verb of the test init that says that it is ready, and goes on until it is stopped. */
export async function attacker(...args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(builtFile('test-init'), args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
}

/** Ends it. @throws when it has failed before: then nothing was attacked */
export async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode === null) {
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  if (child.exitCode !== 0) throw new Error(`the attacker ended with ${child.exitCode ?? child.signalCode}`);
}
