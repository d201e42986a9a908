/** Questions to the person at the terminal. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { ClusterError } from '../common/errors.ts';
import { rawMode } from './terminal.ts';

export interface Question {
  /** What stands before the answer. */
  readonly text: string;
  /** The answer is not shown. */
  readonly isSecret: boolean;
}

/**
 * The answers, in the order of the questions.
 *
 * @throws ClusterError `invalid` when standard input is no terminal, `unavailable` when it ends or Ctrl-C is pressed
 */
export async function ask(questions: readonly Question[]): Promise<readonly string[]> {
  const input = process.stdin;
  if (!(input instanceof ReadStream)) {
    throw new ClusterError('invalid', 'cannot perform an interactive login from a non TTY device', {
      field: '--username',
      hint: 'give --username and --password-stdin',
    });
  }
  let shows = true;
  const output = new Writable({
    write(text, _encoding, done) {
      if (shows) process.stdout.write(text);
      done();
    },
  });
  const restore = rawMode(input);
  const lines = createInterface({ input, output, terminal: true, historySize: 0 });
  const stop = new AbortController();
  for (const end of ['SIGINT', 'close'] as const) lines.once(end, () => stop.abort());
  try {
    const answers: string[] = [];
    for (const { text, isSecret } of questions) {
      process.stdout.write(text);
      shows = !isSecret;
      answers.push(await lines.question('', { signal: stop.signal }));
      shows = true;
      if (isSecret) process.stdout.write('\n');
    }
    return answers;
  } catch (cause) {
    process.stdout.write('\n');
    throw new ClusterError('unavailable', 'interrupted', { hint: 'nothing was changed', cause });
  } finally {
    lines.close();
    restore();
  }
}
