#!/bin/sh
cat /etc/hostname
