import { expect, it } from 'vitest';
import { mergeByTime } from '../../../../agent/logs/merge.ts';

interface Line {
  readonly time: string;
}

async function* log(...batches: readonly (readonly string[])[]): AsyncIterable<readonly Line[]> {
  for (const batch of batches) yield batch.map((time) => ({ time }));
}

async function merged(...logs: readonly AsyncIterable<readonly Line[]>[]): Promise<string> {
  let text = '';
  for await (const lines of mergeByTime(logs)) for (const { time } of lines) text += time;
  return text;
}

it('makes one log in the order of time of several that are in that order', async () => {
  expect(await merged(log(['1', '4'], [], ['7', '8']), log(), log(['2'], ['3', '6']), log([], ['5', '9']))).toBe(
    '123456789',
  );
  expect(await merged(log(), log([]))).toBe('');
  expect(await merged()).toBe('');
});

it('keeps the order of a log whose clock was set back', async () => {
  expect(await merged(log(['5', '2', '6']), log(['3', '7']))).toBe('35267');
});

it('hands on lines long before the end of a large log', async () => {
  let read = 0;
  async function* large(): AsyncIterable<readonly Line[]> {
    for (; read < 10_000; read += 1) yield [{ time: '1' }];
  }
  for await (const lines of mergeByTime([large()])) {
    expect(lines).toHaveLength(1_024);
    break;
  }
  expect(read).toBeLessThan(2_000);
});

it('fails with a log that cannot be read, and leaves the others', async () => {
  let isLeft = false;
  async function* other(): AsyncIterable<readonly Line[]> {
    try {
      for (;;) yield [{ time: '3' }];
    } finally {
      isLeft = true;
    }
  }
  async function* broken(): AsyncIterable<readonly Line[]> {
    yield [{ time: '2' }];
    throw new Error('the disk is gone');
  }
  await expect(merged(other(), broken(), log(['0']))).rejects.toThrow('the disk is gone');
  expect(isLeft).toBe(true);
});
