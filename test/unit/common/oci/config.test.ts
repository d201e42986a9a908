import { describe, expect, it } from 'vitest';
import { ClusterError } from '../../../../common/errors.ts';
import { parseConfig } from '../../../../common/oci/config.ts';

const DIGEST = `sha256:${'0'.repeat(64)}`;

/** An image config whose `config` is this, as JSON. */
function file(config: object, more: object = {}): string {
  return JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { diff_ids: [DIGEST] }, config, ...more });
}

function refusal(text: string): { readonly field: string | undefined; readonly message: string } {
  try {
    parseConfig(text, 'config of image "web:1"');
  } catch (cause) {
    if (cause instanceof ClusterError) return { field: cause.field, message: cause.message };
    throw cause;
  }
  throw new Error('was taken');
}

describe('a hostile image config', () => {
  it.each([
    [{ Env: ['A=\0'] }, 'config.Env[0]', 'NUL'],
    [{ Cmd: ['/bin/x', 'a\0b'] }, 'config.Cmd[1]', 'NUL'],
    [{ User: 'root\0x' }, 'config.User', 'NUL'],
    [{ WorkingDir: '/a\0/../..' }, 'config.WorkingDir', 'NUL'],
    [{ Entrypoint: ['x'.repeat(1 << 20)] }, 'config.Entrypoint[0]', 'longer'],
    [{ Env: Array(5_000).fill('A=b') }, 'config.Env', '5000 entries'],
    [{ Env: 'A=b' }, 'config.Env', 'list'],
    [{ Env: [{ A: 'b' }] }, 'config.Env[0]', 'text'],
    [{ Labels: { a: 1 } }, 'config.Labels.a', 'text'],
    [{ ExposedPorts: { '../80': {} } }, 'config.ExposedPorts', '../80'],
    [{ WorkingDir: 'srv/../../..' }, 'config.WorkingDir', 'absolute'],
    [{ Healthcheck: { Test: ['CMD', 'x'], Interval: -1 } }, 'config.Healthcheck.Interval', 'whole number'],
  ])('is refused with the field: %j', (config, field, why) => {
    expect(refusal(file(config))).toEqual({ field, message: expect.stringContaining(why) });
  });

  it('costs no more than its own size, however long a text is', () => {
    const text = file({ Cmd: ['x'.repeat(100 << 20)] });
    const before = process.memoryUsage.rss();
    const { field, message } = refusal(text);
    expect([field, message.length < 1_000]).toEqual(['config.Cmd[0]', true]);
    expect(process.memoryUsage.rss() - before).toBeLessThan(300 << 20);
  });

  it('gives no field of its own to objects of ours', () => {
    const text = file({}).replace('"config":{}', '"config":{"Labels":{"__proto__":"x"},"__proto__":{"User":"root"}}');
    const { config } = parseConfig(text, 'c');
    expect(config.user).toBe('');
    expect(Object.getPrototypeOf(config.labels)).toBe(Object.prototype);
  });
});

it('reads what Docker writes', () => {
  const { config } = parseConfig(file({ Env: ['A=b'], WorkingDir: '/srv', User: 'web', Cmd: null }), 'c');
  expect(config).toMatchObject({ env: ['A=b'], workdir: '/srv', user: 'web', cmd: [] });
});
