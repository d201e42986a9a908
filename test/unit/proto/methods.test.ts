import { readdirSync } from 'node:fs';
import protobuf from 'protobufjs';
import { expect, it } from 'vitest';
import { Ca, Control, Dispatcher, Engine, Images, pathOf, type ServiceTable } from '../../../proto/methods.ts';

const files = readdirSync('proto').filter((name) => name.endsWith('.proto'));
const root = new protobuf.Root();
root.resolvePath = (_origin, target) => (target.startsWith('proto/') ? target : `proto/${target}`);
root.loadSync(files.map((name) => `proto/${name}`));
root.resolveAll();

function written(table: ServiceTable): string[] {
  return Object.entries(table.methods)
    .map(
      ([name, method]) => `${pathOf(table, name)} ${method.kind} ${nameOf(method.request)} ${nameOf(method.response)}`,
    )
    .sort();
}

function nameOf(codec: unknown): string {
  return (codec as { name: string }).name;
}

function declared(service: protobuf.Service): string[] {
  return service.methodsArray
    .map((method) => {
      const kind = method.requestStream
        ? method.responseStream
          ? 'bidi'
          : 'client-stream'
        : method.responseStream
          ? 'server-stream'
          : 'unary';
      return `/covey.v1.${service.name}/${method.name} ${kind} ${method.resolvedRequestType?.name} ${method.resolvedResponseType?.name}`;
    })
    .sort();
}

it.each([Control, Dispatcher, Engine, Images, Ca])(
  'lists every method of $name as its .proto file declares it',
  (table) => {
    const service = root.lookupService(table.name);
    expect(written(table)).toEqual(declared(service));
  },
);
