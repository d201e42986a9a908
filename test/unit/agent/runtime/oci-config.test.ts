import { describe, expect, it } from 'vitest';
import { type ConfigRequest, execProcess, mergeEnv, ociConfig } from '../../../../agent/runtime/oci-config.ts';

type Parts = { readonly [Key in 'image' | 'template' | 'limits' | 'user']?: Partial<ConfigRequest[Key]> };

function request(parts: Parts = {}): ConfigRequest {
  return {
    image: {
      layers: ['/l'],
      entrypoint: ['/entry'],
      cmd: ['cmd'],
      env: ['A=1', 'PATH=/bin'],
      workdir: '',
      user: '',
      stopSignal: '',
      ...parts.image,
    },
    template: {
      image: 'web:1',
      env: [],
      labels: {},
      readOnly: false,
      stopGraceMs: 1,
      health: { kind: 'none' },
      startTimeoutMs: 1,
      drainMs: 0,
      ...parts.template,
    },
    limits: { nanoCpus: 0, memoryBytes: 0, pids: 0, ...parts.limits },
    hostname: 'given',
    user: { uid: 0, gid: 0, additionalGids: [], home: '/root', ...parts.user },
    cgroup: '/covey/x',
    files: [],
  };
}

describe('the command', () => {
  it('is the entrypoint of the image with its cmd', () => {
    expect(ociConfig(request()).process.args).toEqual(['/entry', 'cmd']);
  });

  it('keeps the entrypoint when only the arguments are given', () => {
    expect(ociConfig(request({ template: { args: ['x', 'y'] } })).process.args).toEqual(['/entry', 'x', 'y']);
  });

  it('drops the cmd of the image when the entrypoint is replaced', () => {
    expect(ociConfig(request({ template: { entrypoint: ['/other'] } })).process.args).toEqual(['/other']);
  });

  it('is refused when neither names one', () => {
    expect(() => ociConfig(request({ image: { entrypoint: [], cmd: [] } }))).toThrow('image "web:1" names no command');
  });
});

describe('the environment', () => {
  it('lets the template win over the image and the image over the defaults', () => {
    const env = ociConfig(request({ template: { env: ['A=2'] } })).process.env;
    expect(env).toEqual(['PATH=/bin', 'HOSTNAME=given', 'HOME=/root', 'A=2']);
  });

  it('keeps the last of several entries and all that is after the first equals sign', () => {
    expect(mergeEnv(['A=1', 'B=x=y'], ['A=', 'A=3'])).toEqual(['A=3', 'B=x=y']);
  });

  it('is what a command inside gets, with its own added', () => {
    const process = execProcess(ociConfig(request()), ['/check'], ['A=9']);
    expect(process.args).toEqual(['/check']);
    expect(process.env).toContain('A=9');
    expect(process.env).toContain('HOSTNAME=given');
  });
});

describe('limits', () => {
  it('become cgroup resources, and none where none is set', () => {
    expect(ociConfig(request()).linux.resources).toEqual({ devices: [{ allow: false, access: 'rwm' }] });
    const limits = { nanoCpus: 1.5e9, memoryBytes: 1 << 20, pids: 7 };
    expect(ociConfig(request({ limits })).linux.resources).toMatchObject({
      cpu: { quota: 150_000, period: 100_000 },
      memory: { limit: 1 << 20, swap: 1 << 20 },
      pids: { limit: 7 },
    });
  });

  it('never ask for less CPU time than the kernel takes', () => {
    const swap = { memoryBytes: 8, memorySwapBytes: 9, memorySwappiness: 0 };
    expect(ociConfig(request({ limits: swap })).linux.resources.memory).toEqual({ limit: 8, swap: 9, swappiness: 0 });
    expect(ociConfig(request({ limits: { nanoCpus: 1 } })).linux.resources.cpu?.quota).toBe(1_000);
  });
});

it('gives capabilities to root only', () => {
  expect(ociConfig(request()).process.capabilities.effective).toHaveLength(14);
  const { capabilities } = ociConfig(request({ user: { uid: 5 } })).process;
  expect(capabilities.effective).toEqual([]);
  expect(capabilities.bounding).toHaveLength(14);
});

it('prefers the hostname and the folder of the template', () => {
  const config = ociConfig(request({ template: { hostname: 'own', workdir: '/w' }, image: { workdir: '/i' } }));
  expect([config.hostname, config.process.cwd]).toEqual(['own', '/w']);
  expect(ociConfig(request({ image: { workdir: '/i' } })).process.cwd).toBe('/i');
});
