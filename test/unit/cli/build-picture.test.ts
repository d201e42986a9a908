import { describe, expect, it } from 'vitest';
import { after, type BuildPicture, emptyPicture, screenOf } from '../../../cli/build-picture.ts';
import type { covey } from '../../../proto/messages.ts';

type Output = covey.v1.BuildOutput.$Properties;
type Telling = readonly [at: number, output: Output];

const begin = (number: number, title: string): Output => ({ begin: { number, title } });
const end = (number: number, outcome: string, ms = 0): Output => ({ end: { number, outcome, ms } });
const says = (number: number, text: string): Output => ({ text: { number, text: Buffer.from(text) } });

function picture(...tellings: readonly Telling[]): BuildPicture {
  return tellings.reduce((so, [at, output]) => after(so, output, at), emptyPicture(0));
}

function screen(shown: BuildPicture, now: number, size = { columns: 50, rows: 24 }): string {
  return screenOf(shown, size, now).join('\n');
}

const TELLINGS: readonly Telling[] = [
  [0, begin(1, '[1/4] FROM base:1')],
  [400, end(1, 'done', 400)],
  [400, begin(2, '[2/4] COPY . /')],
  [410, end(2, 'cached', 10)],
  [410, begin(3, '[3/4] RUN make all')],
  [500, says(3, 'one\ntwo\nthr')],
  [600, says(3, 'ee\n')],
];

describe('the picture of a build', () => {
  it('shows steps with their times, and of what runs the last it said', () => {
    expect(screen(picture(...TELLINGS), 1_500)).toBe(`\
[+] Building 1.5s (2/3)
 => [1/4] FROM base:1                        0.4s
 => CACHED [2/4] COPY . /                    0.0s
 => [3/4] RUN make all                       1.1s
 => => # one
 => => # two
 => => # three`);
  });

  it('shows characters that came in two messages', () => {
    const bytes = Buffer.from('grüße\n');
    const parts = [bytes.subarray(0, 3), bytes.subarray(3)].map((text): Output => ({ text: { number: 1, text } }));
    const shown = picture([0, begin(1, 'RUN a')], [1, parts[0] as Output], [2, parts[1] as Output]);
    expect(screen(shown, 100)).toContain('# grüße');
  });

  it('shows how it ended', () => {
    const failed = picture(...TELLINGS, [700, begin(4, '[b 1/1] RUN sleep')], [900, end(3, 'failed', 490)]);
    expect(screen({ ...failed, endedAt: 1_000 }, 5_000)).toBe(`\
[+] Building 1.0s (3/4) FINISHED
 => [1/4] FROM base:1                        0.4s
 => CACHED [2/4] COPY . /                    0.0s
 => ERROR [3/4] RUN make all                 0.5s
 => CANCELED [b 1/1] RUN sleep               0.3s`);
  });

  it('cuts what is too wide, and never fills a line', () => {
    const wide = picture([0, begin(1, 'RUN 日本語 and more')], [0, says(1, 'x'.repeat(100))]);
    expect(screen(wide, 0, { columns: 24, rows: 24 })).toBe(`\
[+] Building 0.0s (0/1)
 => RUN 日本語 an… 0.0s
 => => # xxxxxxxxxxxxx…`);
    expect(screen(wide, 0, { columns: 1, rows: 24 }).split('\n')).toEqual(['…', '…', '…']);
  });

  it('leaves one row for the cursor: what is done goes first, then what was said, then the oldest', () => {
    const rows = (count: number): string => screen(picture(...TELLINGS), 1_500, { columns: 50, rows: count });
    expect(rows(7).split('\n')).toHaveLength(6);
    expect(rows(7)).toContain('# three');
    expect(rows(7)).not.toContain('# one');
    expect(rows(4)).toBe(`\
[+] Building 1.5s (2/3)
 => CACHED [2/4] COPY . /                    0.0s
 => [3/4] RUN make all                       1.1s`);
    expect(rows(3)).toContain('RUN make');
    expect(rows(3).split('\n')).toHaveLength(2);
    expect(rows(1)).toBe('[+] Building 1.5s (2/3)');
    const many = picture(...Array.from({ length: 40 }, (_, n): Telling => [0, begin(n, `step ${n}`)]));
    expect(screen(many, 0, { columns: 50, rows: 10 }).split('\n')).toHaveLength(9);
    expect(screen(many, 0, { columns: 50, rows: 10 })).toContain('step 39');
    expect(screen({ ...many, endedAt: 1 }, 1, { columns: 50, rows: 10 }).split('\n')).toHaveLength(41);
  });

  it('keeps six lines of what a step says, whatever it says', () => {
    const numbers = Array.from({ length: 1_000 }, (_, n) => `${n}\n`).join('');
    const shown = screen(picture([0, begin(1, 'RUN')], [0, says(1, numbers)], [0, says(1, 'a'.repeat(1e6))]), 0);
    expect(
      shown
        .split('\n')
        .slice(2)
        .map((line) => line.slice(0, 14)),
    ).toEqual(['995', '996', '997', '998', '999', 'aaaaa'].map((text) => ` => => # ${text}`));
  });

  it('keeps warnings', () => {
    expect(picture([0, { warning: 'old' }], [0, { warning: 'new' }]).warnings).toEqual(['old', 'new']);
  });
});
