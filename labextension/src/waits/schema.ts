/**
 * The JSON schema of an answer, made ready for a form. Pure.
 *
 * The server decides what is an answer. What is here only helps to draw fields, and to put what the
 * server says beside the field it is about.
 */
import type { JSONObject, JSONValue, PartialJSONObject } from '@lumino/coreutils';
import type { ErrorSchema, RJSFSchema, UiSchema } from '@rjsf/utils';
import { visible } from '../format';
import { written } from '../json';

type Schema = Readonly<Record<string, JSONValue>>;

/** Whether yes and no are the only answers. */
export function isYesOrNo(schema: Schema | null): boolean {
  return schema !== null && schema.type === 'boolean' && schema.enum === undefined;
}

/**
 * The schema with what may also be null drawn as the one thing that it is besides.
 *
 * Python's `X | None` is two alternatives in a schema; as a form that would be a choice between
 * two forms, where an empty field says as much.
 */
export function drawable(schema: Schema): RJSFSchema {
  return simplified(schema) as RJSFSchema;
}

/** How the fields of a schema are drawn: long texts in an area. */
export function uiOf(schema: JSONValue | undefined): UiSchema {
  if (!isObject(schema)) {
    return {};
  }
  if (schema.type === 'string' && (schema.format === 'multiline' || Number(schema.maxLength) > 200)) {
    return { 'ui:widget': 'textarea', 'ui:options': { rows: 4 } };
  }
  if (Array.isArray(schema.enum)) {
    return { 'ui:enumNames': schema.enum.map(each => visible(String(each))) };
  }
  const properties = isObject(schema.properties) ? schema.properties : {};
  const fields = Object.entries(properties).map(([name, each]) => [name, uiOf(each)]);
  return { ...Object.fromEntries(fields), ...(isObject(schema.items) ? { items: uiOf(schema.items) } : {}) };
}

/** What the server says of the fields, as the form wants it: JSON pointers as a tree. */
export function errorsAt(fields: Readonly<Record<string, string>>): ErrorSchema {
  const root: { [key: string]: any } = Object.create(null); // a field may be called __proto__
  for (const [pointer, message] of Object.entries(fields)) {
    let at = root;
    for (const part of pointer.split('/').slice(1)) {
      const name = part.replace(/~1/g, '/').replace(/~0/g, '~');
      at = at[name] ??= Object.create(null);
    }
    (at.__errors ??= []).push(message);
  }
  return root as ErrorSchema;
}

/** What is sent for a form that nobody has touched: nothing typed is an empty text, not a missing one. */
export function given(schema: Schema, value: JSONValue | undefined): JSONValue {
  if (value !== undefined) {
    return value;
  }
  return schema.type === 'string' ? '' : schema.type === 'object' ? {} : schema.type === 'array' ? [] : null;
}

/**
 * Whether a value fits a schema, as far as it takes to choose among alternatives in a form.
 *
 * It knows types, constants, required properties and combinations. The server knows the rest.
 */
export function fits(schema: JSONValue | undefined, value: JSONValue | undefined, root: JSONValue): boolean {
  if (!isObject(schema)) {
    return schema !== false;
  }
  if (typeof schema.$ref === 'string') {
    return fits(referred(schema.$ref, root), value, root);
  }
  const types = schema.type === undefined ? [] : Array.isArray(schema.type) ? schema.type : [schema.type];
  if (types.length && !types.some(type => isOf(String(type), value))) {
    return false;
  }
  if (Array.isArray(schema.enum) && !schema.enum.some(each => same(each, value))) {
    return false;
  }
  if ('const' in schema && !same(schema.const, value)) {
    return false;
  }
  if (isObject(value)) {
    const required = Array.isArray(schema.required) ? schema.required : [];
    const properties = isObject(schema.properties) ? schema.properties : {};
    if (required.some(name => value[String(name)] === undefined)) {
      return false;
    }
    if (Object.entries(properties).some(([name, each]) => name in value && !fits(each, value[name], root))) {
      return false;
    }
  }
  const all = Array.isArray(schema.allOf) ? schema.allOf : [];
  const any = Array.isArray(schema.anyOf) ? schema.anyOf : Array.isArray(schema.oneOf) ? schema.oneOf : [];
  return (
    all.every(each => fits(each, value, root)) && (any.length === 0 || any.some(each => fits(each, value, root)))
  );
}

function simplified(schema: JSONValue | undefined): JSONValue | undefined {
  if (Array.isArray(schema)) {
    return schema.map(each => simplified(each)!);
  }
  if (!isObject(schema)) {
    return schema;
  }
  const any = schema.anyOf;
  if (Array.isArray(any) && any.length === 2) {
    const rest = any.filter(each => !(isObject(each) && each.type === 'null'));
    if (rest.length === 1 && isObject(rest[0])) {
      const { anyOf: _, default: preset, ...others } = schema;
      return simplified({ ...rest[0], ...others, ...(preset === undefined || preset === null ? {} : { default: preset }) });
    }
  }
  return Object.fromEntries(
    Object.entries(schema).map(([key, each]) => [key, KEPT.has(key) ? each : simplified(each)!])
  );
}

const KEPT = new Set(['default', 'const', 'enum', 'examples', 'required']);

function referred(ref: string, root: JSONValue): JSONValue | undefined {
  let at: JSONValue | undefined = root;
  for (const part of ref.replace(/^#\/?/, '').split('/').filter(Boolean)) {
    at = isObject(at) ? at[part.replace(/~1/g, '/').replace(/~0/g, '~')] : undefined;
  }
  return at;
}

function isOf(type: string, value: JSONValue | undefined): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isObject(value);
    case 'integer':
      return Number.isInteger(value) || typeof value === 'bigint';
    case 'number':
      return typeof value === 'number' || typeof value === 'bigint';
    default:
      return typeof value === type;
  }
}

function same(one: JSONValue | undefined, other: JSONValue | undefined): boolean {
  return one === undefined || other === undefined ? one === other : written(one) === written(other);
}

function isObject(value: JSONValue | PartialJSONObject | undefined): value is JSONObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
