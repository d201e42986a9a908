import { describe, expect, it } from 'vitest';
import type { Digest } from '../../../../common/model/ids.ts';
import { choosePlatform, type Descriptor, parseIndex } from '../../../../common/oci/manifest.ts';
import { fits, machineOf, type Platform } from '../../../../common/oci/platform.ts';

const V2 = 'cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3';
const V3 = `${V2} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave`;
const amd64 = (flags: string) => machineOf('amd64', `processor\t: 0\nflags\t\t: fpu vme ${flags}\nbugs\t\t:\n`);
const arm = (version: number) => machineOf('arm', `processor\t: 0\nCPU architecture: ${version}\n`);

/** Entries in the words of `platformText`; `-` has no platform. */
function index(...texts: readonly string[]): readonly Descriptor[] {
  return texts.map((text, at) => {
    const [os = '', arch = '', variant] = text.split('/');
    const platform: Platform = { os, arch, ...(variant === undefined ? {} : { variant }) };
    const digest = `sha256:${String(at).padStart(64, '0')}` as Digest;
    return { mediaType: 'm', digest, size: 1, annotations: {}, ...(text === '-' ? {} : { platform }) };
  });
}

const chosen = (machine: ReturnType<typeof arm>, ...texts: readonly string[]): string | undefined => {
  const entries = index(...texts);
  return texts[entries.indexOf(choosePlatform(entries, 'image "web:1"', machine))];
};

describe('the platform of an index', () => {
  it('is the best that the processor runs', () => {
    const levels = ['linux/amd64', 'linux/amd64/v2', 'linux/amd64/v3', 'linux/amd64/v4', 'linux/arm64'];
    expect(chosen(amd64(''), ...levels)).toBe('linux/amd64');
    expect(chosen(amd64(V2), ...levels)).toBe('linux/amd64/v2');
    expect(chosen(amd64(V3), ...levels)).toBe('linux/amd64/v3');
    expect(chosen(amd64(`${V3} avx512bw avx512cd avx512dq avx512f avx512vl`), ...levels)).toBe('linux/amd64/v4');
    // A level counts with all below it only.
    expect(chosen(amd64(V3.replace('ssse3', '')), ...levels)).toBe('linux/amd64');
  });

  it('is an older one of arm when there is no newer', () => {
    expect(chosen(arm(7), 'linux/arm/v5', 'linux/arm/v6', 'linux/arm/v8')).toBe('linux/arm/v6');
    expect(chosen(arm(8), 'linux/arm/v6', 'linux/arm', 'linux/arm/v5')).toBe('linux/arm');
    expect(chosen(arm(6), 'linux/arm/v7', 'linux/arm/v5')).toBe('linux/arm/v5');
    expect(() => chosen(arm(6), 'linux/arm')).toThrow('not for linux/arm (up to v6)');
  });

  it('is arm64 with its variant or without', () => {
    expect(chosen(machineOf('arm64', ''), 'linux/arm/v7', 'linux/arm64/v8')).toBe('linux/arm64/v8');
    expect(chosen(machineOf('arm64', ''), 'linux/arm/v7', 'linux/arm64')).toBe('linux/arm64');
    expect(chosen(machineOf('arm64', ''), 'linux/aarch64')).toBe('linux/aarch64');
  });

  it('is the first of several alike, and any variant where none is known', () => {
    expect(chosen(machineOf('s390x', ''), 'linux/amd64', 'linux/s390x/z13', 'linux/s390x')).toBe('linux/s390x/z13');
  });

  it('may be unsaid when there is one image, whatever lies beside it', () => {
    expect(chosen(amd64(''), '-')).toBe('-');
    expect(chosen(amd64(''), '-', 'unknown/unknown')).toBe('-');
    expect(() => chosen(amd64(''), '-', 'linux/arm64')).toThrow('is for unnamed, linux/arm64, not for linux/amd64');
  });

  it('is refused with a list of what there is, without attestations', () => {
    expect(() => chosen(amd64(V2), 'windows/amd64', 'linux/arm/v7', 'unknown/unknown', 'linux/amd64/v3')).toThrow(
      'image "web:1" is for windows/amd64, linux/arm/v7, linux/amd64/v3, not for linux/amd64 (up to v2)',
    );
    expect(() => chosen(amd64(''))).toThrow('image "web:1" is for nothing, not for linux/amd64');
  });

  it('passes over an attestation that names our platform', () => {
    const [image, beside] = index('linux/amd64', 'linux/amd64') as [Descriptor, Descriptor];
    const attestation = { ...beside, annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } };
    expect(choosePlatform([attestation, image], 'i', amd64(''))).toBe(image);
  });
});

it('a config fits a machine that has what it was built for', () => {
  expect(fits({ os: 'linux', arch: 'amd64', variant: 'v3' }, amd64(V3))).toBe(true);
  expect(fits({ os: 'linux', arch: 'amd64', variant: 'v3' }, amd64(V2))).toBe(false);
});

it('an index names variants, and versions of systems that make no difference here', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const entry = (platform: object) => ({ mediaType: 'm', digest, size: 1, platform });
  const text = JSON.stringify({
    schemaVersion: 2,
    manifests: [
      entry({ os: 'windows', architecture: 'amd64', 'os.version': '10.0.20348.2031' }),
      entry({ os: 'linux', architecture: 'amd64', variant: 'v2', 'os.version': '6.1', 'os.features': ['x'] }),
    ],
  });
  const entries = parseIndex(text, 'the index');
  expect(entries.map(({ platform }) => platform)).toEqual([
    { os: 'windows', arch: 'amd64' },
    { os: 'linux', arch: 'amd64', variant: 'v2' },
  ]);
  expect(choosePlatform(entries, 'i', amd64(V3))).toBe(entries[1]);
});
