import { describe, expect, it } from 'vitest';
import { configText } from '../../../../agent/runtime/config-text.ts';
import type { OciConfig } from '../../../../agent/runtime/oci-config.ts';

const SECCOMP = { defaultAction: 'SCMP_ACT_ERRNO', architectures: [], syscalls: [] };
/** Any object serves: what it says is not looked at. */
const config = (linux: object): OciConfig =>
  ({ process: { args: ['echo', 'null}}', '"seccomp":null'] }, linux }) as unknown as OciConfig;

describe('the text of a config', () => {
  it('says what the config says, with a filter', () => {
    const asked = config({ cgroupsPath: '/null}}', seccomp: SECCOMP, maskedPaths: ['/proc/kcore'] });
    expect(JSON.parse(configText(asked))).toEqual(asked);
  });

  it('says what the config says, without a filter', () => {
    const asked = config({ cgroupsPath: '/a' });
    expect(JSON.parse(configText(asked))).toEqual(asked);
    expect(JSON.parse(configText(config({})))).toEqual(config({}));
  });

  it('has each config’s own filter, also when one object follows another', () => {
    const other = { ...SECCOMP, defaultAction: 'SCMP_ACT_ALLOW' };
    for (const seccomp of [SECCOMP, other, SECCOMP])
      expect(JSON.parse(configText(config({ seccomp })))).toEqual(config({ seccomp }));
  });
});
