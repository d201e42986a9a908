import { describe, expect, it } from 'vitest';
import { openRequest, sizeOf } from '../../../../agent/exec/request.ts';

const start = { task: 't1', command: ['sh'], env: [] };

describe('a user’s command', () => {
  it('is plain unless more is said', () => {
    expect(openRequest(start)).toEqual({ args: ['sh'], env: [], privileged: false, stdin: false, detached: false });
  });

  it('has a terminal of the kernel’s size when ours has none', () => {
    expect(openRequest({ ...start, tty: true }).terminal).toBeNull();
    expect(openRequest({ ...start, tty: true, size: { rows: 24, columns: 80 } }).terminal).toEqual({
      rows: 24,
      columns: 80,
    });
  });

  it('is refused without telling a value when something about it is wrong', () => {
    expect(() => openRequest({ ...start, command: [] })).toThrow('there is no command');
    expect(() => openRequest({ ...start, command: ['', 'x'] })).toThrow('there is no command');
    expect(() => openRequest({ ...start, workdir: 'tmp' })).toThrow('working directory "tmp" is not absolute');
    expect(() => openRequest({ ...start, tty: true, detach: true })).toThrow('a detached command has no terminal');
    for (const bad of ['=secret', 'secret', ''])
      expect(() => openRequest({ ...start, env: ['A=1', bad] }), bad).toThrow(/^a variable is not KEY=value$/);
  });
});

it('a size is whole cells from 1 to 65535, both of them', () => {
  expect(sizeOf({ rows: 1, columns: 65_535 })).toEqual({ rows: 1, columns: 65_535 });
  for (const bad of [undefined, null, {}, { rows: 24 }, { rows: 0, columns: 80 }, { rows: 24, columns: 65_536 }])
    expect(sizeOf(bad), JSON.stringify(bad)).toBeUndefined();
});
