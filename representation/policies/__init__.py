"""Drivers that see by a perception model: what is it worth in mph?"""
