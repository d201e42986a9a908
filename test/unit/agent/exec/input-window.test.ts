import { describe, expect, it } from 'vitest';
import { INPUT_WINDOW_BYTES, InputWindow } from '../../../../agent/exec/input-window.ts';
import { withResolvers } from '../../../../common/iterate.ts';

/** A command that takes what was written when it is told to. */
class Reader {
  #room = withResolvers<void>();
  written = 0;

  async write(bytes: Uint8Array): Promise<void> {
    this.written += bytes.length;
    await this.#room.promise;
  }

  takesAll(): void {
    this.#room.resolve();
    this.#room = withResolvers<void>();
  }
}

describe('a window of input', () => {
  it('holds up nobody who keeps to it, and tells what was taken', async () => {
    const [window, reader] = [new InputWindow(), new Reader()];
    const takings = window.takings()[Symbol.asyncIterator]();
    await window.write(reader, new Uint8Array(10));
    await window.write(reader, new Uint8Array(INPUT_WINDOW_BYTES - 10));
    expect(reader.written).toBe(INPUT_WINDOW_BYTES);
    const next = takings.next();
    reader.takesAll();
    let taken = (await next).value as number;
    if (taken < INPUT_WINDOW_BYTES) taken += (await takings.next()).value as number;
    expect(taken).toBe(INPUT_WINDOW_BYTES);
    window.end();
    expect((await takings.next()).done).toBe(true);
  });

  it('holds up who does not', async () => {
    const [window, reader] = [new InputWindow(), new Reader()];
    let isThrough = false;
    const write = window.write(reader, new Uint8Array(INPUT_WINDOW_BYTES + 1)).then(() => {
      isThrough = true;
    });
    for (let turns = 0; turns < 20; turns += 1) await Promise.resolve();
    expect(isThrough).toBe(false);
    reader.takesAll();
    await write;
  });
});
