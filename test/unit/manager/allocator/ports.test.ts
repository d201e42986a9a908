import { describe, expect, it } from 'vitest';
import type { ServiceId } from '../../../../common/model/ids.ts';
import type { Port } from '../../../../common/model/service.ts';
import {
  assignPorts,
  lingeringPorts,
  type PortClaim,
  portClaims,
  portConflict,
  repeatedPort,
} from '../../../../manager/allocator/ports.ts';
import { aRevision, aService, aSpec } from '../../../support/fixtures.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

function aPort(published: number, change: Partial<Port> = {}): Port {
  return { protocol: 'tcp', target: 80, published, mode: 'ingress', ...change };
}

const api = 'api' as ServiceId;
const claim = (port: Port): PortClaim => ({ serviceId: api, serviceName: 'api', port });

describe('published ports', () => {
  it('clash with those of another service unless both are in host mode', () => {
    const host = { mode: 'host' } as const;
    const clashes = (a: Port, b: Port) => portConflict([a], [claim(b)], undefined) !== undefined;
    expect(clashes(aPort(8080), aPort(8080))).toBe(true);
    expect(clashes(aPort(8080), aPort(8080, host))).toBe(true);
    expect(clashes(aPort(8080, host), aPort(8080))).toBe(true);
    expect(clashes(aPort(8080, host), aPort(8080, host))).toBe(false);
    expect(clashes(aPort(8080), aPort(8081))).toBe(false);
    expect(clashes(aPort(8080), aPort(8080, { protocol: 'udp' }))).toBe(false);
  });

  it('name the port and the other service when they clash', () => {
    expect(portConflict([aPort(80), aPort(8080)], [claim(aPort(8080))], undefined)).toEqual({
      index: 1,
      with: claim(aPort(8080)),
    });
  });

  it('do not clash with the same service or before they are assigned', () => {
    expect(portConflict([aPort(8080)], [claim(aPort(8080))], api)).toBeUndefined();
    expect(portConflict([aPort(0)], [claim(aPort(0))], undefined)).toBeUndefined();
  });

  it('may not be published twice by one spec', () => {
    expect(repeatedPort([aPort(80), aPort(81), aPort(80, { target: 90 })])).toBe(2);
    expect(repeatedPort([aPort(80), aPort(80, { protocol: 'udp' }), aPort(0), aPort(0)])).toBeUndefined();
  });

  it('are assigned from 30000 on where they are left open', () => {
    const ports = assignPorts([aPort(0), aPort(0, { target: 90 })], [aPort(30_000)], []);
    expect(ports?.map(({ published }) => published)).toEqual([30_001, 30_002]);
  });

  it('stay the same through an update', () => {
    const before = [aPort(30_005), aPort(30_006, { target: 90 })];
    const ports = assignPorts([aPort(0, { target: 90 }), aPort(0), aPort(0, { target: 91 })], [], before);
    expect(ports?.map(({ published }) => published)).toEqual([30_006, 30_005, 30_000]);
  });

  it('run out', () => {
    const taken = Array.from({ length: 2_768 }, (_, index) => aPort(30_000 + index));
    expect(assignPorts([aPort(0)], taken, [])).toBeUndefined();
  });

  it('are claimed by specs in force and linger with the revisions of other services', () => {
    const store = new MemoryStore();
    const service = aService('api', aSpec('api', { ports: [aPort(8080)] }));
    store.put('service', 'api', service);
    store.put('revision', 'api.1', aRevision(service, { ports: [aPort(30_000)] }));
    expect(portClaims(store.view)).toEqual([claim(aPort(8080))]);
    expect(lingeringPorts(store.view, undefined)).toEqual([aPort(30_000)]);
    expect(lingeringPorts(store.view, api)).toEqual([]);
  });
});
