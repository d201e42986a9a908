/** linux.resources.devices: general lists of rules, by the v1 list and by the v2 program alike. */
import { constants } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OciWorld } from '../../support/oci-world.ts';

const { EPERM } = constants.errno;
const NULL = ['c', '1', '3'] as const;
const ZERO = ['c', '1', '5'] as const;
/** FUSE: a device that no container has, and that needs no privilege to be opened. */
const FUSE = ['c', '10', '229'] as const;

let oci: OciWorld;
beforeAll(() => {
  oci = new OciWorld();
});
afterAll(() => oci.destroy());

/** What opening a node to read it says, 0 or errno. */
async function opened(rules: readonly object[], node: readonly string[]): Promise<number | null> {
  const linux = { resources: { devices: rules } };
  return (await oci.ran(['device', ...node], { linux })).code;
}

const everything = (allow: boolean) => ({ allow, access: 'rwm' });
const zero = (allow: boolean, access: string) => ({ allow, type: 'c', major: 1, minor: 5, access });
const fuse = { allow: true, type: 'c', major: 10, minor: 229, access: 'rw' };

describe('a list of devices', () => {
  it('that denies everything leaves those which every container has', async () => {
    expect(await opened([everything(false)], NULL)).toBe(0);
    expect(await opened([everything(false)], FUSE)).toBe(EPERM);
  });

  it('opens what it names and nothing beside it', async () => {
    const rules = [everything(false), fuse];
    expect(await opened(rules, FUSE)).not.toBe(EPERM);
    expect(await opened(rules, ['c', '10', '237'])).toBe(EPERM);
  });

  it('that allows everything closes what it names and nothing beside it', async () => {
    const rules = [everything(true), zero(false, 'r')];
    expect(await opened(rules, ZERO)).toBe(EPERM);
    expect(await opened(rules, NULL)).toBe(0);
  });

  it('is read in order: the last word on a device holds', async () => {
    const closed = [everything(true), zero(false, 'rw')];
    expect(await opened([...closed, zero(true, 'r')], ZERO)).toBe(0);
    expect(await opened([...closed, zero(true, 'w')], ZERO)).toBe(EPERM);
    expect(await opened([everything(false), fuse, everything(false)], FUSE)).toBe(EPERM);
  });
});
