import { describe, expect, it } from 'vitest';
import { runtimeError } from '../../../../agent/runtime/runtime-error.ts';

/** As the addon throws it. */
function native(fields: { code: string; syscall: string; path: string; step: string }): Error {
  return Object.assign(new Error(`${fields.code}: ${fields.step}, ${fields.syscall} '${fields.path}'`), {
    errno: -2,
    ...fields,
  });
}

describe('an AppArmor profile', () => {
  const refused = { code: 'ENOENT', syscall: 'write', path: 'exec web', step: 'setting the security label' };

  it('that the kernel does not know is not loaded', () => {
    expect(runtimeError(native(refused), 'container c')).toMatchObject({
      code: 'invalid',
      message: 'container c: AppArmor profile "web" is not loaded on this host',
      hint: 'aa-status lists the loaded profiles, apparmor_parser --replace FILE loads one',
    });
  });

  it('that may not be taken keeps the kernel’s word', () => {
    expect(runtimeError(native({ ...refused, code: 'EACCES' }), 'container c').message).toContain('EACCES');
  });
});

describe('what a user asks to be shown', () => {
  it('cannot always be mapped, and goes on its like only', () => {
    const map = { code: 'EINVAL', syscall: 'mount_setattr', path: '/proc', step: 'mapping the ids of a bound path' };
    expect(runtimeError(native(map), 'container c')).toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('"/proc" of the host'),
      hint: expect.stringContaining('--userns host'),
    });
    const bind = { code: 'ENOTDIR', syscall: 'move_mount', path: '/tmp', step: 'binding a path of the host' };
    expect(runtimeError(native(bind), 'container c')).toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('a folder goes on a folder'),
    });
    expect(runtimeError(native({ ...bind, code: 'EIO' }), 'container c').code).toBe('internal');
  });
});
