import { describe, expect, it } from 'vitest';
import { restartOf, runWish } from '../../../cli/flags/container-flags.ts';
import { containerRow, inspectContainer, statusOf } from '../../../cli/format/container.ts';
import { containerFilters, passesContainer } from '../../../cli/format/container-filter.ts';
import { filled } from '../../../cli/format/object-template.ts';
import { covey } from '../../../proto/messages.ts';

const ID = 'ab'.repeat(32);
const view = (change: covey.v1.ContainerView.$Properties = {}): covey.v1.ContainerView =>
  covey.v1.ContainerView.decode(
    covey.v1.ContainerView.encode({
      id: ID,
      name: 'box',
      nodeName: 'n1',
      state: 'running',
      createdAt: 1_000,
      startedAt: 2_000,
      command: ['sh', '-c', 'a rather long line of words'],
      spec: {
        network: 'cluster',
        restart: 'no',
        ports: [{ protocol: 'tcp', published: 8080, target: 80, mode: 'host' }],
        template: { container: { image: 'web:1', labels: { tier: 'front' } } },
      },
      ...change,
    }).finish(),
  );
const wish = (given: Readonly<Record<string, unknown>>, ...args: readonly string[]) =>
  runWish('web:1', args, { name: 'box', ...given }, { OWN: 'mine' });

describe('flags of covey run', () => {
  it('become a container', () => {
    const { spec } = wish(
      {
        env: ['A=1', 'OWN'],
        memory: '64m',
        cpus: '0.5',
        pidsLimit: '20',
        publish: ['8080:80', '53/udp'],
        label: ['tier=front'],
        stopTimeout: '3',
        entrypoint: '/bin/my init',
        capAdd: ['NET_ADMIN'],
        restart: 'on-failure:3',
        interactive: true,
        tty: true,
      },
      'a',
      'b',
    );
    expect(spec).toMatchObject({
      name: 'box',
      network: 'cluster',
      input: 'once',
      restart: 'on-failure',
      restartMax: 3,
      autoRemove: false,
      ports: [
        { published: 8080, target: 80, protocol: 'tcp', mode: 'host' },
        { published: 0, target: 53, protocol: 'udp', mode: 'host' },
      ],
    });
    expect(spec.template.limits).toMatchObject({ memoryBytes: 67_108_864, nanoCpus: 5e8, pids: 20 });
    expect(spec.template.container).toMatchObject({
      args: ['a', 'b'],
      entrypoint: ['/bin/my init'],
      env: ['A=1', 'OWN=mine'],
      labels: { tier: 'front' },
      stopGraceMs: 3_000,
      tty: true,
      process: { capAdd: ['CAP_NET_ADMIN'] },
    });
  });

  it('keep stdin open when nobody is attached, and take an empty entrypoint for none', () => {
    expect(wish({ interactive: true, detach: true }).spec.input).toBe('kept');
    expect(wish({ entrypoint: '' }).spec.template.container.entrypoint).toEqual([]);
    expect(wish({ network: 'bridge' }).spec.network).toBe('cluster');
    expect(wish({ pidsLimit: '-1' }).spec.template.limits.pids).toBe(0);
  });

  it.each([
    [{ restart: 'sometimes' }, '--restart'],
    [{ restart: 'always:2' }, '--restart'],
    [{ network: 'mine' }, '--network'],
    [{ pull: 'often' }, '--pull'],
    [{ stopTimeout: 'soon' }, '--stop-timeout'],
  ])('refuse %j by name', (given, field) => {
    expect(() => wish(given)).toThrow(expect.objectContaining({ code: 'invalid', field }));
  });

  it('read restart policies as Docker does', () => {
    expect(restartOf('unless-stopped')).toEqual({ restart: 'unless-stopped', restartMax: 0 });
    expect(restartOf('on-failure:5')).toEqual({ restart: 'on-failure', restartMax: 5 });
  });
});

describe('covey ps', () => {
  it.each([
    [{}, 'Up 3 seconds'],
    [{ health: 'healthy' }, 'Up 3 seconds (healthy)'],
    [{ health: 'starting' }, 'Up 3 seconds (health: starting)'],
    [{ state: 'paused' }, 'Up 3 seconds (Paused)'],
    [{ state: 'exited', exitCode: 3, finishedAt: 4_000 }, 'Exited (3) 1 second ago'],
    [{ state: 'restarting', exitCode: 1, finishedAt: 3_000 }, 'Restarting (1) 2 seconds ago'],
    [{ state: 'created' }, 'Created'],
    [{ state: 'unknown' }, 'Unknown (its node cannot be asked)'],
  ])('says of %j: %s', (change, words) => {
    expect(statusOf(view(change), 5_000)).toBe(words);
  });

  it('shows a row in Docker’s columns, with the node', () => {
    expect(containerRow(view(), 5_000, false)).toMatchObject({
      ID: ID.slice(0, 12),
      Image: 'web:1',
      Command: '"sh -c a rather long…"',
      Ports: '0.0.0.0:8080->80/tcp',
      Names: 'box',
      Node: 'n1',
      Labels: 'tier=front',
    });
  });

  it('filters by name, label, status, image, exit code and node', () => {
    const shows = (...filters: readonly string[]): boolean => passesContainer(view(), containerFilters(filters));
    expect(shows('name=bo', 'label=tier=front', 'status=running', 'ancestor=web', 'node=n1')).toBe(true);
    expect(shows('status=paused', 'status=running')).toBe(true);
    expect(shows('exited=0')).toBe(false);
    expect(shows('label=none')).toBe(false);
    expect(() => containerFilters(['volume=x'])).toThrow(expect.objectContaining({ field: '--filter' }));
    expect(['name=^box$', 'name=^/box', 'name=o'].map((filter) => shows(filter))).toEqual([true, true, true]);
    expect(shows('name=^ox')).toBe(false);
    expect(() => containerFilters(['name=('])).toThrow(expect.objectContaining({ field: '--filter' }));
    expect(() => containerFilters(['status=gone'])).toThrow(expect.objectContaining({ field: '--filter' }));
  });

  it('fills templates of what inspect shows, and refuses those that name nothing', () => {
    const shown = inspectContainer(view());
    expect(filled('{{.State.Status}} {{ .Name }} {{json .State.Running}}', shown)).toBe('running /box true');
    expect(filled('{{json .Config.Labels}}|{{.Config.Labels}}', shown)).toBe('{"tier":"front"}|{"tier":"front"}');
    for (const template of ['{{.State.None}}', '{{range .Mounts}}', '{{.State.Status.more}}'])
      expect(() => filled(template, shown)).toThrow(expect.objectContaining({ field: '--format' }));
  });

  it('inspects as Docker does', () => {
    expect(inspectContainer(view({ state: 'exited', exitCode: 4 }))).toMatchObject({
      Id: ID,
      Name: '/box',
      Path: 'sh',
      State: { Status: 'exited', Running: false, ExitCode: 4, FinishedAt: '0001-01-01T00:00:00Z' },
      NetworkSettings: { Ports: {} },
      HostConfig: { PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '8080' }] } },
    });
  });
});
