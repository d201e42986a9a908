import { expect, it } from 'vitest';
import { sendingTitle } from '../../../cli/build-call.ts';
import { DrawnProgress, LineProgress } from '../../../cli/build-progress.ts';
import { covey } from '../../../proto/messages.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const PARTS = new RegExp(['\\u001b\\[\\d*[A-Z]', '\\n', '[^\\n\\u001b]+'].join('|'), 'g');

/** A terminal that knows the few sequences we write. */
class Terminal {
  readonly columns = 40;
  readonly rows = 10;
  #lines: string[] = [''];
  #at = 0;

  write(text: string): void {
    for (const part of text.match(PARTS) ?? []) {
      if (part.endsWith('A') && part.startsWith('\u001b')) this.#at -= Number(part.slice(2, -1));
      else if (part === '\u001b[2K') this.#lines[this.#at] = '';
      else if (part === '\u001b[0J') this.#lines = [...this.#lines.slice(0, this.#at), ''];
      else if (part === '\n') {
        this.#at += 1;
        this.#lines[this.#at] ??= '';
      } else this.#lines[this.#at] = `${this.#lines[this.#at] ?? ''}${part}`;
    }
  }

  get text(): string {
    return this.#lines.join('\n');
  }
}

const telling = (output: covey.v1.BuildOutput.$Properties): covey.v1.BuildOutput =>
  covey.v1.BuildOutput.decode(covey.v1.BuildOutput.encode(output).finish()) as covey.v1.BuildOutput;

it('draws over what it drew, and leaves the end standing with warnings below it', () => {
  const clock = new FakeClock();
  const terminal = new Terminal();
  terminal.write('$ covey build\n');
  const progress = new DrawnProgress(terminal, clock);
  progress.show(telling({ begin: { number: 1, title: 'RUN make' } }));
  progress.show(telling({ text: { number: 1, text: Buffer.from('said\n') } }));
  clock.advance(1_000);
  expect(terminal.text).toBe(
    '$ covey build\n[+] Building 1.0s (0/1)\n => RUN make                       1.0s\n => => # said\n',
  );
  progress.show(telling({ warning: 'careful' }));
  progress.show(telling({ end: { number: 1, outcome: 'done', ms: 1_100 } }));
  progress.end();
  const last = '$ covey build\n[+] Building 1.0s (1/1) FINISHED\n => RUN make                       1.1s\ncareful\n';
  expect(terminal.text).toBe(last);
  clock.advance(1_000);
  expect(terminal.text).toBe(last);
});

it('leaves nothing of a build that did not begin', () => {
  const terminal = new Terminal();
  terminal.write('$ covey build\n');
  new DrawnProgress(terminal, new FakeClock()).end();
  expect(terminal.text).toBe('$ covey build\n');
});

it('tells in lines elsewhere', () => {
  const said: string[] = [];
  const progress = new LineProgress((text) => said.push(text));
  progress.show(telling({ begin: { number: 1, title: 'RUN make' } }));
  progress.show(telling({ text: { number: 1, text: Buffer.from('on') } }));
  progress.show(telling({ text: { number: 1, text: Buffer.from('e\ntwo') } }));
  progress.show(telling({ end: { number: 1, outcome: 'done', ms: 300 } }));
  progress.end();
  expect(said.join('')).toBe('#1 RUN make\n#1 one\n#1 two\n#1 DONE 0.3s\n');
});

it('says of a context what is sent', () => {
  const entries = [
    { kind: 'directory' },
    { kind: 'file', size: 2_000 },
    { kind: 'file', size: 0 },
    { kind: 'file', size: 500 },
  ];
  expect(sendingTitle(entries, [])).toBe('[context] 2 files, none to be sent');
  expect(sendingTitle(entries, [1, 3])).toBe('[context] 2 files, 2 to be sent (2.5kB)');
  expect(sendingTitle(entries.slice(0, 2), [1])).toBe('[context] 1 file, 1 to be sent (2kB)');
});

it('says lines whole, whatever characters a message ends within', () => {
  const said: string[] = [];
  const progress = new LineProgress((text) => said.push(text));
  const bytes = Buffer.from('grüße, 世界\nand');
  for (const byte of bytes) progress.show(telling({ text: { number: 1, text: Buffer.of(byte) } }));
  progress.show(telling({ end: { number: 1, outcome: 'done', ms: 0 } }));
  expect(said.join('')).toBe('#1 grüße, 世界\n#1 and\n#1 DONE 0.0s\n');
});
