import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { DETACH_KEYS, DetachKeys, parseDetachKeys } from '../../../cli/detach-keys.ts';
import { ExecInput } from '../../../cli/exec-input.ts';

const DETACHING = '\u0010\u0011';
const START = { task: 'web.1', command: ['sh'] };

/** Input as a user gives it, and the messages that become of it. */
class Conversation {
  readonly source = new PassThrough();
  readonly input: ExecInput;
  readonly #messages: AsyncIterator<object>;

  constructor(kind: 'pipe' | 'terminal') {
    const keys = kind === 'terminal' ? new DetachKeys(parseDetachKeys(DETACH_KEYS)) : undefined;
    this.input = new ExecInput(this.source, keys);
    this.#messages = this.input.messages(Promise.resolve(), START)[Symbol.asyncIterator]();
  }

  /** The next `count` messages in short: `start`, `abc` for input, `(70000)` for much of it, `detach`, `end`, `resize`. */
  async says(count: number): Promise<readonly string[]> {
    const said: string[] = [];
    for (let at = 0; at < count; at += 1) {
      const { value } = (await this.#messages.next()) as { value: Record<string, unknown> };
      const bytes = value.stdin as Uint8Array | undefined;
      if (bytes === undefined) said.push(Object.keys(value)[0] ?? '');
      else said.push(bytes.length > 10 ? `(${bytes.length})` : Buffer.from(bytes).toString('latin1'));
    }
    return said;
  }
}

describe('input on a pipe', () => {
  it('goes out in pieces at the pace of whoever takes it, and ends', async () => {
    const talk = new Conversation('pipe');
    talk.source.end(Buffer.alloc(70_000));
    expect(await talk.says(1)).toEqual(['start']);
    expect(await talk.says(4)).toEqual(['(32768)', '(32768)', '(4464)', 'stdinEnd']);
  });
});

describe('input on a terminal', () => {
  it('waits for the command, then for what it takes', async () => {
    const talk = new Conversation('terminal');
    talk.source.write('abcdef');
    expect(await talk.says(1)).toEqual(['start']);
    const next = talk.says(1);
    talk.input.allow(2);
    expect(await next).toEqual(['ab']);
    talk.input.allow(3);
    expect(await talk.says(1)).toEqual(['cde']);
  });

  it('detaches at once, however much the command has left unread', async () => {
    const talk = new Conversation('terminal');
    talk.input.allow(100);
    talk.source.write('x'.repeat(1_000_000));
    talk.source.write(DETACHING);
    expect(await talk.says(3)).toEqual(['start', '(100)', 'detach']);
  });

  it('is followed by new sizes at once too', async () => {
    const talk = new Conversation('terminal');
    talk.input.allow(100);
    talk.source.write('x'.repeat(1_000));
    expect(await talk.says(2)).toEqual(['start', '(100)']);
    const next = talk.says(1);
    talk.input.send({ resize: { rows: 1, columns: 2 } });
    expect(await next).toEqual(['resize']);
  });

  it('reaches the command before the detach keys where there is room', async () => {
    const talk = new Conversation('terminal');
    talk.input.allow(100);
    talk.source.write(`abc${DETACHING}def`);
    expect(await talk.says(3)).toEqual(['start', 'abc', 'detach']);
  });
});
