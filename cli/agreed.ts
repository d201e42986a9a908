/** Asks whoever sits at the terminal. */
import { createInterface } from 'node:readline/promises';
import { ClusterError } from '../common/errors.ts';

/** Asks; anything but yes is no. @throws ClusterError `invalid` when nobody can answer */
export async function agreed(warning: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new ClusterError('invalid', 'nobody can be asked', { field: '--force', hint: 'add --force' });
  }
  const asked = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await asked.question(`${warning}\nAre you sure you want to continue? [y/N] `);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    asked.close();
  }
}
